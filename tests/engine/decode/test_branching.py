"""Rows that share out a prompt's likely continuations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.local import ask, tokens_of

from codegen_lsp.engine.decode.rows.branching import Branch
from codegen_lsp.engine.model.model import Model


def logits(*probabilities: float) -> list[tuple[int, float]]:
    """Tokens 0, 1, … with the logarithms of their probabilities."""
    return [(token, math.log(p)) for token, p in enumerate(probabilities)]


def group(size: int) -> list[Branch]:
    return [Branch(rank, size) for rank in range(size)]


def any_number(_: int) -> int:
    return 99


def take(
    rows: Sequence[Branch], likely: list[tuple[int, float]], most: Callable[[int], int] = any_number
) -> list[int]:
    return [row.take(likely, most) for row in rows]


def test_the_first_row_is_the_greedy_one() -> None:
    rows = group(3)
    assert [row.is_greedy for row in rows] == [True, False, False]
    assert not any(row.is_alone for row in rows)
    assert Branch(0, 1).is_alone


def test_tokens_that_are_as_likely_get_a_row_each() -> None:
    rows = group(3)
    assert take(rows, logits(0.3, 0.3, 0.3, 0.1)) == [0, 1, 2]
    assert all(row.is_alone for row in rows)


def test_a_likely_token_gets_several_rows_which_part_later() -> None:
    rows = group(4)
    # The square roots are in the ratio of 9 to 4 to 1: seats by 9, 9/2, 4, 9/3.
    assert take(rows, logits(0.81, 0.16, 0.01)) == [0, 0, 1, 0]
    assert [(row.rank, row.size) for row in rows] == [(0, 3), (1, 3), (0, 1), (2, 3)]
    together = [rows[0], rows[1], rows[3]]
    assert take(together, logits(0.4, 0.3, 0.3)) == [0, 1, 2]
    assert all(row.is_alone for row in rows)


def test_rows_apart_from_the_greedy_one_have_no_greedy_row() -> None:
    rows = group(6)
    assert take(rows, logits(0.5, 0.5)) == [0, 1, 0, 1, 0, 1]
    assert [row.rank for row in rows] == [0, 0, 1, 1, 2, 2]
    assert [row.is_greedy for row in rows] == [True, False, False, False, False, False]
    assert take([rows[1], rows[3], rows[5]], logits(0.5, 0.3, 0.2), lambda token: int(token > 0)) == [1, 2, 0]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({0: 0}, [0, 1, 2, 1]),  # the greedy row takes the best token in any case
        ({1: 0}, [0, 2, 0, 0]),
        ({0: 1, 1: 1}, [0, 1, 2, 2]),
        ({0: 0, 1: 0, 2: 0}, [0, 0, 0, 0]),
    ],
)
def test_tokens_get_no_more_rows_than_they_may(limits: Mapping[int, int], expected: Sequence[int]) -> None:
    assert take(group(4), logits(0.5, 0.3, 0.2), lambda token: limits.get(token, 4)) == expected


@given(
    values=st.lists(st.floats(-30, 0), min_size=1, max_size=20),
    limits=st.lists(st.integers(0, 3), min_size=20, max_size=20),
    size=st.integers(1, 10),
    steps=st.integers(1, 4),
)
def test_rows_with_the_same_tokens_are_a_group(
    values: list[float], limits: list[int], size: int, steps: int
) -> None:
    """Each of its rows has a different rank, whatever the probabilities and limits are."""
    likely = list(enumerate(sorted(values, reverse=True)))
    rows = group(size)
    texts: list[tuple[int, ...]] = [()] * size
    for _ in range(steps):
        tokens = [row.take(likely, limits.__getitem__) for row in rows]
        texts = [(*text, token) for text, token in zip(texts, tokens, strict=True)]
        for text in set(texts):
            same = [row for row, each in zip(rows, texts, strict=True) if each == text]
            assert [row.rank for row in same] == list(range(len(same)))
            assert {row.size for row in same} == {len(same)}
    assert texts[0] == (0,) * steps


@given(best=st.floats(0.01, 0.999), split=st.floats(0.0, 1.0), size=st.integers(2, 8))
def test_a_certain_token_has_all_rows(best: float, split: float, size: int) -> None:
    """Whatever the other probabilities are, also if one token has all of the rest."""
    rest = max((1 - best) * split, 1e-12)
    likely = sorted(logits(best, rest, max(1 - best - rest, 1e-12)), key=lambda pair: -pair[1])
    rows = group(size)
    if rows[0].is_certain(best):
        assert set(take(rows, likely)) == {0}


def test_the_greedy_row_is_greedy_until_it_is_alone_at_any_temperature(tiny: Model) -> None:
    """Else another row could take the tokens that were meant for this one."""
    greedy = ask(tiny, "import ", max_tokens=1, logprobs=0)
    for seed in range(8):
        answer = ask(tiny, "import ", n=3, max_tokens=1, branch=True, temperature=5.0, seed=seed, logprobs=0)
        assert tokens_of(tiny, answer) == tokens_of(tiny, greedy)
        assert len({tuple(tokens_of(tiny, answer, row)) for row in range(3)}) == 3


def test_rows_that_would_be_empty_are_spent_on_others(tiny: Model) -> None:
    """The stop strings begin with the likeliest first tokens: only the greedy row ends with one of them."""
    firsts = [text[:1] for text in ask(tiny, "import ", n=8, max_tokens=1, branch=True).texts]
    stop = tuple(dict.fromkeys(first for first in firsts[:4] if first))
    answer = ask(tiny, "import ", n=6, max_tokens=6, branch=True, stop=stop)
    assert answer.texts[0] == ""
    assert all(text for text in answer.texts[1:])
    assert len(set(answer.texts)) == len(answer.texts)


def test_no_row_but_the_greedy_one_begins_with_a_second_blank_line(tiny: Model) -> None:
    head = tiny.module.get_output_embeddings()
    breaks = [i for i, raw in enumerate(tiny.vocabulary.bytes_of) if raw.isspace() and b"\n" in raw]
    head.bias.data[breaks] += 100.0
    try:
        on_an_empty_line = ask(tiny, "x = 1\n", n=4, max_tokens=1, branch=True).texts
        at_the_end = ask(tiny, "x = 1", n=4, max_tokens=1, branch=True).texts
    finally:
        head.bias.data[breaks] -= 100.0
    assert [text.isspace() for text in on_an_empty_line] == [True, False, False, False]
    assert all(text.isspace() for text in at_the_end)
