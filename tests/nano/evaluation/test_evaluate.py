"""Figures that are easy to compute by hand, and the lists of held-out files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from codegen_lsp.nano.corpus import heldout, sources
from codegen_lsp.nano.corpus.heldout import HeldOut, HeldOutFile
from codegen_lsp.nano.evaluation import evaluate
from codegen_lsp.nano.evaluation.cuts import Cut, cut_points
from codegen_lsp.nano.evaluation.predictors import Suggestion


class Fixed:
    """A predictor with prepared suggestions by prefix, and eight bits per byte."""

    name = "fixed"

    def __init__(self, suggestions: dict[str, Suggestion | None]) -> None:
        self.suggestions = suggestions

    def nats(self, text: str) -> float:
        return len(text.encode()) * 8 * math.log(2)

    def complete(self, prefix: str) -> Suggestion | None:
        return self.suggestions[prefix]


def cut(prefix: str, target: str, *, at_start: bool) -> Cut:
    return Cut("d", "p", prefix, target, at_start)


def test_measures_by_hand() -> None:
    predictor = Fixed(
        {
            "a": Suggestion("right", -0.1),
            "b": Suggestion("right", -2.0),
            "c": Suggestion("wrong", -0.1),
            "d": None,
        }
    )
    cuts = [
        cut("a", "right  ", at_start=True),
        cut("b", "right", at_start=True),
        cut("c", "wrung", at_start=False),
        cut("d", "more", at_start=False),
    ]
    files = (HeldOutFile("d", "p", "é = 1\n"), HeldOutFile("e", "q", "x\n"))
    measures = evaluate.measure(predictor, HeldOut(files, ()), cuts, threshold=-0.5)
    assert measures.bits_per_byte == pytest.approx(8.0)
    assert measures.bits_per_byte_of == {"d": pytest.approx(8.0), "e": pytest.approx(8.0)}
    assert (measures.exact, measures.exact_at_start, measures.exact_inside) == (0.5, 1.0, 0.0)
    assert measures.similarity == pytest.approx((1 + 1 + 0.8 + 0) / 4)
    assert (measures.shown, measures.shown_and_right, measures.right_of_shown) == (0.5, 0.25, 0.5)


def test_what_has_no_probabilities_has_no_bits_and_shows_all_it_has() -> None:
    class Words(Fixed):
        def nats(self, text: str) -> None:  # type: ignore[override]
            return None

    words = Words({"a": Suggestion("x", math.nan)})
    measures = evaluate.measure(
        words, HeldOut((HeldOutFile("d", "p", "x"),), ()), [cut("a", "x", at_start=True)], -0.5
    )
    assert measures.bits_per_byte is None
    assert measures.shown_and_right == 1.0
    table = evaluate.markdown([measures])
    assert table.splitlines()[2].startswith("| fixed | – | 100.0 % | 100.0 % | – |")


def test_the_table_and_the_files(tmp_path: Path) -> None:
    measures = evaluate.measure(Fixed({}), HeldOut((HeldOutFile("d", "p", "x"),), ()), [], -0.5)
    evaluate.write([measures], {"seed": 7}, tmp_path)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["seed"] == 7
    assert written["results"][0]["bits_per_byte"] == pytest.approx(8.0)
    assert written["results"][0]["exact"] is None
    assert "| bits per byte | d |" in (tmp_path / "evaluation.md").read_text()


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("same", "same", 0)],
)
def test_edit_distance(a: str, b: str, distance: int) -> None:
    assert evaluate.levenshtein(a, b) == evaluate.levenshtein(b, a) == distance
    assert 0 <= evaluate.similarity(a, b) <= 1


def test_the_listed_files_are_those_of_all_held_out_distributions() -> None:
    listed = json.loads(heldout.LIST.read_text())
    assert sorted(listed) == sorted(sources.HELD_OUT)
    held_out = heldout.load()
    assert {file.distribution for file in held_out.files} == set(sources.HELD_OUT)
    assert all(0 < len(file.text) <= heldout.FILE_CAP for file in held_out.files)
    assert not [note for note in held_out.notes if "missing" in note and "codegen-lsp" not in note]


def test_a_thousand_cuts_are_the_same_each_time_and_half_are_at_a_lines_start() -> None:
    files = heldout.load().files
    cuts = cut_points(files, 1000)
    assert cuts == cut_points(files, 1000)
    assert len(cuts) == 1000
    assert sum(item.at_start for item in cuts) == 500
    texts = {(file.distribution, file.path): file.text for file in files}
    for item in cuts:
        text = texts[item.distribution, item.path]
        line = item.prefix.split("\n")[-1]
        assert text.startswith(f"{item.prefix}{item.target}\n") or text == item.prefix + item.target
        assert item.target.strip()
        assert (not line.strip()) == item.at_start


def test_a_long_text_ends_with_a_whole_line() -> None:
    assert heldout.capped("abc\ndef\nghi\n", 9) == "abc\ndef\n"
    assert heldout.capped("abc\n", 9) == "abc\n"
