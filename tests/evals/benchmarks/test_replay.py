"""The typing replay: what is typed, what is accepted, and what the figures mean."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types as lsp

from codegen_lsp.evals.benchmarks import replay
from codegen_lsp.evals.benchmarks.replay import ReplaySettings, Tally, Typing, keyboard, typist
from codegen_lsp.evals.harness.records import DataError, EvaluationError

FILE = '''"""A module."""

import math
import random


def area(radius: float) -> float:
    """The area of a circle."""
    square = radius * radius
    return math.pi * square


class Dice:
    def __init__(self, sides: int = 6) -> None:
        self.sides = sides
        self.thrown = []

    def throw(self) -> int:
        value = random.randint(1, self.sides)
        self.thrown.append(value)

        return value
'''


def test_gaps_and_the_line_above_make_up_the_file() -> None:
    draft = typist.draft(FILE, 200, 3, 1)
    assert len(draft.gaps) == 3
    assert sorted(draft.order) == [0, 1, 2]
    assert draft.above is not None
    for number in draft.order:
        gap = draft.gaps[number]
        draft.insert(gap.offset, gap.left)
        gap.left = ""
    draft.insert(draft.above.offset, draft.above.left)
    assert draft.text == FILE


def test_same_seed_same_typing() -> None:
    assert typist.draft(FILE, 200, 3, 7) == typist.draft(FILE, 200, 3, 7)
    first, second = typist.moves(7), typist.moves(7)
    assert [next(first) for _ in range(500)] == [next(second) for _ in range(500)]
    kinds = [next(first)[0] for _ in range(2000)]
    assert 10 < kinds.count("typo") < 80


@pytest.mark.parametrize("text", ["", "x = 1\n", "def f():\n    pass\n", "\n\n\n"])
def test_file_with_nothing_to_type(text: str) -> None:
    with pytest.raises(EvaluationError, match="choose another file"):
        typist.draft(text, 200, 3, 0)


@pytest.mark.parametrize(
    ("left", "key"),
    [
        ("abc", "a"),
        ("\n    x", "\n    "),
        ("\n\n    x", "\n"),
        ("\n", "\n"),
        ("\n\tx", "\n\t"),
        ("é😀", "é"),
        ("", ""),
    ],
)
def test_line_end_brings_the_indentation(left: str, key: str) -> None:
    assert typist.next_key(left) == key


@given(st.text(alphabet="ab \t\n:é😀", max_size=60))
def test_keys_spell_the_text(text: str) -> None:
    left, count = text, 0
    while left:
        left = left[len(typist.next_key(left)) :]
        count += 1
    assert count == typist.keys(text) <= len(text)


@given(
    st.lists(
        st.sampled_from(["def f():\n", "    return value\n", "x = 'é😀'\n", "\n", "class A:\n"]), max_size=40
    )
)
def test_any_file_can_be_put_together_again(lines: list[str]) -> None:
    text = "".join(lines)
    try:
        draft = typist.draft(text, 60, 2, 3)
    except EvaluationError:
        return
    for number in draft.order:
        gap = draft.gaps[number]
        while gap.left:
            key = typist.next_key(gap.left)
            at = gap.offset
            draft.insert(at, key)
            gap.left = gap.left[len(key) :]
            assert gap.offset == at + len(key)
    if draft.above is not None:
        draft.insert(draft.above.offset, draft.above.left)
    assert draft.text.rstrip("\n") == text.rstrip("\n")


class FakeSession:
    """A server that keeps the document from the changes it is told, and answers from a function."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.text = ""
        self.versions = [1]
        self.commands: list[tuple[Any, ...]] = []

    def open(self, path: Path, text: str) -> str:
        self.text = text
        return path.as_uri()

    def change(self, uri: str, version: int, places: lsp.Range, text: str) -> None:
        self.versions.append(version)
        start, end = (keyboard._offset(self.text, p) for p in (places.start, places.end))
        self.text = self.text[:start] + text + self.text[end:]

    async def inline(self, uri: str, line: int, character: int, *, invoked: bool) -> Any:
        assert not invoked
        return self.answer(self.text, keyboard._offset(self.text, lsp.Position(line, character)))

    async def command_result(self, name: str, *arguments: Any) -> None:
        self.commands.append((name, *arguments))


async def typed(answer: Any, settings: ReplaySettings | None = None) -> tuple[FakeSession, Tally]:
    session = FakeSession(answer)
    draft = typist.draft(FILE, 200, 3, 1)
    typing = Typing(session, Path("/x.py"), draft, settings or ReplaySettings(), "seed")  # type: ignore[arg-type]
    return session, await typing.run()


async def test_without_suggestions_every_key_is_pressed() -> None:
    session, tally = await typed(lambda text, offset: [])
    assert session.text == FILE
    assert tally.pressed == tally.baseline > 100
    assert tally.shown == tally.accepted == 0
    assert session.versions == list(range(1, len(session.versions) + 1))
    # Slips are asked about as well, and taken back: two changes each; the line above is one.
    assert tally.asked == tally.pressed + tally.typos
    assert tally.changes == tally.pressed + 2 * tally.typos + 1
    figures = replay.summarise([tally])
    assert figures["keystrokes_saved"] == 0.0
    assert figures["accept_rate"] is None
    assert figures["prefilled_per_keystroke"] is None


def oracle(text: str, offset: int) -> list[lsp.InlineCompletionItem]:
    """The rest of the line as the file has it, as a whole line from column 0 and with a command, as servers send it."""
    before = text[:offset].rsplit("\n", 1)[-1]
    line = next((ln for ln in FILE.splitlines() if before.strip() and ln.startswith(before)), None)
    if line is None or line == before:
        return []
    number = text.count("\n", 0, offset)
    place = lsp.Range(lsp.Position(number, 0), lsp.Position(number, len(before)))
    return [
        lsp.InlineCompletionItem(
            line, range=place, command=lsp.Command("ok", "codegen.accepted", arguments=["7"])
        )
    ]


async def test_right_suggestions_are_accepted_with_one_key() -> None:
    session, tally = await typed(oracle)
    assert session.text == FILE
    assert tally.accepted >= 5
    assert session.commands == [("codegen.accepted", "7")] * tally.accepted
    assert tally.pressed < tally.baseline / 2
    figures = replay.summarise([tally])
    assert figures["keystrokes_saved"] == pytest.approx(1 - tally.pressed / tally.baseline, abs=1e-4)
    assert figures["characters_per_accept"] > 5


@pytest.mark.parametrize(
    "item",
    [
        lsp.InlineCompletionItem("nonsense"),
        lsp.InlineCompletionItem(""),
        lsp.InlineCompletionItem("x", range=lsp.Range(lsp.Position(0, 0), lsp.Position(0, 3))),
    ],
)
async def test_wrong_suggestions_change_nothing(item: lsp.InlineCompletionItem) -> None:
    session, tally = await typed(lambda text, offset: [item])
    assert session.text == FILE
    assert tally.accepted == 0
    assert tally.shown == tally.asked


async def test_answers_that_take_too_long_are_not_seen() -> None:
    session, tally = await typed(oracle, ReplaySettings(within=1e-3))
    assert session.text == FILE
    assert tally.shown == tally.accepted == 0
    assert tally.late == tally.asked == len(tally.latencies)
    assert tally.pressed == tally.baseline


async def test_errors_of_the_server_are_no_suggestions() -> None:
    def fail(text: str, offset: int) -> None:
        raise RuntimeError("content modified")

    session, tally = await typed(fail)
    assert session.text == FILE
    assert tally.latencies == []


def test_finds_files(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("a.py", "b/c.py", "b/readme.txt", "d.go"):
        (tmp_path / name).write_text("x\n", encoding="utf-8")
    assert [p.name for p in replay.find_files([tmp_path])] == ["a.py", "c.py"]
    assert [p.name for p in replay.find_files([tmp_path / "d.go", tmp_path / "d.go"])] == ["d.go"]
    with pytest.raises(DataError, match="there is no file"):
        replay.find_files([tmp_path / "missing.py"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no source files"):
        replay.find_files([tmp_path / "empty"])


def test_report_adds_up(tmp_path: Path) -> None:
    from codegen_lsp.evals.harness.records import Folder

    source = random.Random(3)
    tallies = [
        Tally(
            name,
            100,
            80,
            100,
            50,
            10,
            60,
            0,
            2,
            104,
            [source.uniform(5, 500) for _ in range(90)],
            300.0,
            2700.0,
        )
        for name in ("a.py", "b.py")
    ]
    about = {"model": "fake", "settings": replay.settings_of(ReplaySettings())}
    with Folder(tmp_path, {}) as folder:
        data = replay.write_report(folder, tallies, about)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == data
    assert data["keystrokes_saved"] == 0.2
    assert data["shown_rate"] == 0.5
    assert data["accept_rate"] == 0.2
    assert data["characters_per_accept"] == 6.0
    assert data["cache_hit_rate"] == 0.9
    assert data["prefilled_per_keystroke"] == pytest.approx(600 / 208, abs=1e-4)
    latency = data["latency_ms"]
    assert 5 < latency["p50"] < latency["p95"] < latency["p99"] < 500
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| **all** | 20.0 % | 50.0 % | 20.0 % | 6.0 |" in page
    assert (tmp_path / "report.png").exists()


@pytest.mark.parametrize(
    "wrong", [{"characters": 3}, {"gaps": 0}, {"pace": -1.0}, {"pace": float("nan")}, {"within": -1.0}]
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(EvaluationError):
        ReplaySettings(**wrong)
