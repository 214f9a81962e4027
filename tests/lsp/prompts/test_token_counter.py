"""Estimated token counts, and how a server's own counts correct them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen_lsp.lsp.prompts.token_counter import Estimates

TEXT = "result = compute(first, second)\n" * 32


def first() -> int:
    """What is guessed before any server has counted."""
    return guess(Estimates())


def guess(estimates: Estimates) -> int:
    return estimates.counter(TEXT)


def test_a_server_that_counts_more_is_believed_at_once() -> None:
    estimates = Estimates()
    estimates.learn(TEXT, len(TEXT) // 2)
    assert len(TEXT) // 2 <= guess(estimates) <= 0.7 * len(TEXT)


def test_a_server_that_counts_less_is_believed_when_it_does_so_again() -> None:
    estimates = Estimates()
    estimates.learn(TEXT, len(TEXT) // 5)
    assert guess(estimates) == first()
    for _ in range(3):
        estimates.learn(TEXT, len(TEXT) // 5)
    assert len(TEXT) // 5 <= guess(estimates) < first()


def test_counts_that_differ_little_change_nothing() -> None:
    estimates = Estimates()
    for count in (300, 302, 299, 301, 300, 303):
        estimates.learn(TEXT, count)
    counter = estimates.counter
    for count in (300, 298, 303, 301):
        estimates.learn(TEXT, count)
    assert estimates.counter is counter, "lines counted once are not counted again, and the window stays"


def test_a_refused_prompt_makes_the_next_one_shorter_up_to_a_token_a_byte() -> None:
    estimates = Estimates()
    seen = [guess(estimates)]
    for _ in range(10):
        estimates.refused()
        seen.append(guess(estimates))
    assert seen == sorted(seen)
    assert seen[1] > seen[0]
    assert seen[-1] == len(TEXT)


@pytest.mark.parametrize(("text", "tokens"), [("x = 1", 400), (TEXT, 0), (TEXT, -5), ("", 7)])
def test_counts_that_say_nothing_are_ignored(text: str, tokens: int) -> None:
    estimates = Estimates()
    for _ in range(5):
        estimates.learn(text, tokens)
    assert guess(estimates) == first()


@given(st.lists(st.integers(-(10**9), 10**9)))
def test_whatever_a_server_says_a_guess_stays_sane(counts: list[int]) -> None:
    estimates = Estimates()
    for count in counts:
        estimates.learn(TEXT, count)
    assert len(TEXT) / 10 <= guess(estimates) <= len(TEXT)
