"""Where a text is cut: the parts give the text again, and middles are what a person types."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen_lsp.nano.corpus import middles
from codegen_lsp.nano.corpus.middles import Parts, cut, lines_of

TEXT = """\
import os


def total(values, start=0):
    result = start
    for value in values:
        result += value

    return result


print(total([1, 2], start=3))
"""


def cuts(count: int = 400) -> list[Parts]:
    return [parts for seed in range(count) if (parts := cut(TEXT, Random(seed))) is not None]


@given(st.text(alphabet="ab (:)\n\t\r\x0c\u2028"), st.integers(0, 2**32))
def test_the_parts_give_the_text_again(text: str, seed: int) -> None:
    parts = cut(text, Random(seed))
    assert (parts is None) == (not text.strip())
    assert parts is None or parts.text == text


def test_the_same_generator_cuts_the_same() -> None:
    assert cuts() == cuts()
    assert len(set(cuts())) > 100


def test_a_suffix_that_is_cut_short_ends_with_its_line() -> None:
    text = TEXT * 20
    parts = [cut(text, Random(seed)) for seed in range(300)]
    short = [part for part in parts if part is not None and part.beyond]
    assert 100 < len(short) < 200
    assert all(part.suffix.endswith("\n") for part in short)
    assert all(len(part.suffix) <= middles.SUFFIX_CHARACTERS[1] + 40 for part in short)


@pytest.mark.parametrize("kind", [middles.rest_of_line, middles.part_of_line])
def test_middles_within_a_line_leave_its_indentation_to_the_prefix(kind: object) -> None:
    lines = lines_of(TEXT)
    for seed in range(200):
        start, end = kind(lines, Random(seed))  # type: ignore[operator]
        line = next(line for line in reversed(lines) if line.start <= start)
        assert line.start + line.indent <= start <= end <= line.end


@pytest.mark.parametrize("kind", [middles.whole_line, middles.block])
def test_half_of_the_whole_lines_begin_with_their_indentation(kind: object) -> None:
    lines = [line for line in lines_of(TEXT) if line.indent]
    spans = [kind(lines, Random(seed)) for seed in range(400)]  # type: ignore[operator]
    assert 150 < sum(TEXT[start] == " " for start, _ in spans) < 250
    assert 100 < sum(TEXT[end - 1] == "\n" for _, end in spans) < 300


def test_a_block_is_a_statement_with_its_body_or_goes_to_the_end_of_its_block() -> None:
    lines = lines_of(TEXT)
    blocks = {TEXT[start:end].strip() for start, end in (middles.block(lines, Random(n)) for n in range(900))}
    assert "for value in values:\n        result += value" in blocks
    assert "for value in values:\n        result += value\n\n    return result" in blocks
    assert not any(text.startswith("result += value\n") for text in blocks)


def test_every_kind_has_its_share() -> None:
    assert sum(share for _, share in middles.KINDS) == pytest.approx(1)
    within = Counter("\n" in parts.middle.strip() for parts in cuts(1000))
    assert within[False] > 700
