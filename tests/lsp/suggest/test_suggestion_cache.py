"""The memory: what was suggested is served while the user types into it, and never when it is stale."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.golden import GoldenCase, cases, cursor

from codegen_lsp.lsp.code.cursor import at_offset
from codegen_lsp.lsp.suggest.suggestion_cache import SuggestionCache
from codegen_lsp.lsp.suggest.values import Candidate, Ranked


def ranked(*texts: str, covers: int = 0) -> tuple[Ranked, ...]:
    return tuple(Ranked(Candidate(text=t, replace=covers), -float(i)) for i, t in enumerate(texts))


@pytest.mark.parametrize("case", cases("typed-through"), ids=str)
def test_golden(case: GoldenCase) -> None:
    memory = SuggestionCache()
    covers = int(case.one("replace")) if case.has("replace") else 0
    memory.put(case.cursor(), ranked(*case.all("suggestion"), covers=covers))
    answer = memory.get(case.cursor("then"))
    if case.has("asked"):
        assert answer is None
        return
    assert answer is not None
    (one,) = answer
    assert one.candidate.text == case.one("left")
    assert one.candidate.replace == (int(case.one("covers")) if case.has("covers") else 0)


def test_each_keystroke_of_a_suggestion_is_served_and_each_backspace() -> None:
    memory = SuggestionCache()
    memory.put(cursor("x = ‸\ny"), ranked("compute(a)", "count(b)"))
    keys = "compute(a)"
    for i in [*range(len(keys)), *reversed(range(len(keys)))]:
        answer = memory.get(cursor(f"x = {keys[:i]}‸\ny"))
        assert answer is not None
        assert answer[0].candidate.text == keys[i:]
        assert len(answer) == (2 if i <= 2 else 1)


def test_the_text_that_was_shown_last_is_expected_again() -> None:
    memory = SuggestionCache()
    assert memory.expected(cursor("x = ‸\ny")) == ""
    memory.put(cursor("x = ‸\ny"), ranked("compute(a)", "count(b)"))
    typed = cursor("x = self‸\ny")
    assert memory.get(typed) is None
    assert memory.expected(typed) == "compute(a)"
    assert memory.expected(cursor("x = " + "very" * 20 + "‸\ny")) == ""


def test_the_score_and_its_parts_stay() -> None:
    memory = SuggestionCache()
    one = Ranked(Candidate("foo", mean_logprob=-0.5), -0.4, (("mean_logprob", -0.5), ("length", 0.1)))
    memory.put(cursor("‸"), [one])
    assert memory.get(cursor("f‸")) == (replace(one, candidate=replace(one.candidate, text="oo")),)


def test_going_back_to_an_earlier_place() -> None:
    memory = SuggestionCache()
    for i in range(100):
        memory.put(cursor(f"line {i}\n‸"), ranked(f"value {i}"))
    answer = memory.get(cursor("line 40\n‸"))
    assert answer is not None
    assert answer[0].candidate.text == "value 40"


def test_the_least_recently_used_answer_goes_first() -> None:
    memory = SuggestionCache(capacity=2)
    memory.put(cursor("a = ‸"), ranked("1"))
    memory.put(cursor("bb = ‸"), ranked("2"))
    assert memory.get(cursor("a = ‸")) is not None
    memory.put(cursor("ccc = ‸"), ranked("3"))
    assert len(memory) == 2
    assert memory.get(cursor("bb = ‸")) is None
    assert memory.get(cursor("a = ‸")) is not None


def test_answers_of_another_document_are_not_served() -> None:
    memory = SuggestionCache()
    memory.put(at_offset("x = ", 4, uri="file:///a"), ranked("1"))
    assert memory.get(at_offset("x = ", 4, uri="file:///b")) is None


def test_a_closed_document_is_forgotten() -> None:
    memory = SuggestionCache()
    memory.put(at_offset("x = ", 4, uri="file:///a"), ranked("1"))
    memory.put(at_offset("x = ", 4, uri="file:///b"), ranked("1"))
    memory.forget("file:///a")
    memory.forget("file:///never")
    assert len(memory) == 1
    assert memory.get(at_offset("x = ", 4, uri="file:///b")) is not None


def test_nothing_shown_is_nothing_remembered() -> None:
    memory = SuggestionCache()
    memory.put(cursor("x‸"), ())
    assert len(memory) == 0
    SuggestionCache(capacity=0).put(cursor("x‸"), ranked("1"))


def test_large_documents_take_the_room_of_several() -> None:
    memory = SuggestionCache(capacity=100)
    text = "x = 1\n" * 800_000
    for i in range(40):
        memory.put(at_offset(text, len(text) - 6 * i, line=0, uri="file:///a"), ranked("1"))
    assert 0 < len(memory) < 20


def test_a_document_larger_than_the_room_is_not_remembered() -> None:
    memory = SuggestionCache(capacity=1)
    memory.put(at_offset("x" * 1_000_000, 1_000_000, line=0), ranked("1"))
    assert len(memory) == 0


@given(
    st.text("ab\n()'\r", max_size=12),
    st.text("ab\n()'\r", max_size=12),
    st.text("ab\n()'", max_size=8),
    st.integers(0, 12),
)
def test_what_is_served_is_the_rest_of_what_was_shown(before: str, after: str, text: str, typed: int) -> None:
    memory = SuggestionCache()
    at = at_offset(before + after, len(before))
    memory.put(at, ranked(text))
    keys = text[:typed]
    answer = memory.get(at_offset(at.prefix + keys + at.suffix, len(at.prefix + keys)))
    if answer is not None:
        assert keys + answer[0].candidate.text == text
