"""Ranking: what each part of the score does, duplicates, confidence, order."""

from __future__ import annotations

import math

import pytest
from support.golden import site

from codegen_lsp.lsp.prompts.prompt import PromptLimits, build
from codegen_lsp.lsp.prompts.token_counter import estimate
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.suggest.rank import Weights, close, rank, scoring_prompt
from codegen_lsp.lsp.suggest.values import Candidate, Verdict

AT = site("x = ‸\n")


def verdicts(*candidates: Candidate) -> list[Verdict]:
    return [Verdict(c) for c in candidates]


def texts(*candidates: Candidate, **options: object) -> list[str]:
    shown, _ = rank(verdicts(*candidates), AT, **options)  # type: ignore[arg-type]
    return [r.candidate.text for r in shown]


def test_the_likelier_comes_first() -> None:
    assert texts(Candidate("aa", -1.0), Candidate("bb", -0.2), Candidate("cc", -3.0)) == ["bb", "aa", "cc"]


def test_the_one_that_the_text_below_follows_from_comes_first() -> None:
    likely, fitting = Candidate("aa", -0.5, suffix_logprob=-4.0), Candidate("bb", -0.7, suffix_logprob=-1.0)
    assert texts(likely, fitting) == ["bb", "aa"]
    assert texts(likely, fitting, weights=Weights(suffix_gain=0.0)) == ["aa", "bb"]


def test_unmeasured_candidates_are_neither_helped_nor_hurt_by_the_suffix() -> None:
    shown, _ = rank(verdicts(Candidate("aa", -0.5, suffix_logprob=-4.0), Candidate("bb", -0.7)), AT)
    assert [dict(r.parts)["suffix_gain"] for r in shown] == [0.0, 0.0]


def test_contenders_far_behind_are_not_close() -> None:
    found = verdicts(
        Candidate("aa", -3.0), Candidate("bb", -0.2), Candidate("cc", -1.0), Candidate("dd", -0.1)
    )
    found[3] = Verdict(found[3].candidate, Reason.DUPLICATE)
    assert close(found, AT, None, 1.0) == [1, 2]
    assert close(found, AT, None, 0.5) == [1]
    assert close(found, AT, None, 9.0) == [0, 1, 2]
    assert close(found, AT, -0.5, 9.0) == [1]
    assert close([], AT, None, 1.0) == []


def test_the_one_that_parses_comes_first() -> None:
    at = site("print(‸\nx = 1\n")
    shown, _ = rank(verdicts(Candidate("a, b", -0.5), Candidate("a, c)", -0.6)), at)
    assert [r.candidate.text for r in shown] == ["a, c)", "a, b"]
    assert dict(shown[0].parts)["parse"] > 0


def row(text: str, tokens: list[str], *logprobs: float) -> Candidate:
    """A candidate as the engine gives it."""
    return Candidate(
        text, sum(logprobs) / len(logprobs), raw=text, tokens=tuple(tokens), token_logprobs=logprobs
    )


def test_a_line_is_not_first_for_the_certainty_of_its_end() -> None:
    """The longer one has the better mean: all that is unlikely about it is its first token."""
    short = row("0", ["0"], -1.5)
    long = row("f(f(f(f", ["f", "(", "f", "(", "f", "(", "f"], -4.0, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5)
    assert texts(long, short) == ["0", "f(f(f(f"]
    assert texts(long, short, weights=Weights(tokens=0.0)) == ["f(f(f(f", "0"]


def test_blocks_are_compared_by_their_mean() -> None:
    short = row("0", ["0"], -1.5)
    block = row("f(\n  f,f)", ["f", "(", "\n  ", "f", ",f", ")"], -4.0, -0.5, -0.5, -0.5, -0.5, -0.5)
    assert texts(block, short) == ["f(\n  f,f)", "0"]


def test_between_equals_the_one_that_says_more() -> None:
    assert texts(Candidate("aa", -0.5), Candidate("bb + cc + dd", -0.5)) == ["bb + cc + dd", "aa"]


def test_between_equals_in_all_the_earlier() -> None:
    assert texts(Candidate("aa", -0.5), Candidate("bb", -0.5), Candidate("cc", -0.5)) == ["aa", "bb", "cc"]


def test_a_score_is_the_sum_of_its_parts() -> None:
    shown, _ = rank(
        verdicts(Candidate("aa", -0.5, suffix_logprob=-1.0), Candidate("b(", -0.7, suffix_logprob=-2.0)), AT
    )
    for one in shown:
        assert one.score == pytest.approx(sum(value for _, value in one.parts))
        assert [name for name, _ in one.parts] == [
            "mean_logprob",
            "tokens",
            "suffix_gain",
            "parse",
            "fit",
            "body",
            "length",
        ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("foo( 1)", "foo( 1)"),
        ("'a'", '"a"'),
        ("foo(a,  b)", "foo(a, b)"),
        ("if x:\n    y = 1", "if x:\n    y = 1\n    z = 2"),
    ],
)
def test_near_duplicates_fold_into_the_better(first: str, second: str) -> None:
    shown, out = rank(verdicts(Candidate(first, -0.5), Candidate(second, -0.6)), AT)
    assert [r.candidate.text for r in shown] == [first]
    assert [v.reason for v in out] == [None, Reason.DUPLICATE]
    assert "duplicate" in out[1].trail[-1]


@pytest.mark.parametrize(
    ("first", "second"), [("foo", "foo(1)"), ("1", "2"), ("a b", "ab"), ("x.get", "x.get_all\n")]
)
def test_what_differs_stays_apart(first: str, second: str) -> None:
    assert len(texts(Candidate(first, -0.5), Candidate(second, -0.6))) == 2


def test_below_the_threshold_nothing_is_shown_and_a_sentence_says_so() -> None:
    shown, out = rank(verdicts(Candidate("aa", -0.5), Candidate("bb", -2.5)), AT, -1.0)
    assert [r.candidate.text for r in shown] == ["aa"]
    assert [v.reason for v in out] == [None, Reason.LOW_CONFIDENCE]
    assert "-2.50" in out[1].trail[-1]


def test_a_server_without_log_probabilities_has_no_threshold() -> None:
    assert texts(Candidate("aa"), Candidate("bb"), threshold=-1.0) == ["aa", "bb"]


def test_what_was_dropped_before_stays_dropped() -> None:
    dropped = Verdict(Candidate("aa", -0.1), Reason.EMPTY, ("empty: there is nothing in it",))
    shown, out = rank([dropped, Verdict(Candidate("bb", -0.5))], AT)
    assert [r.candidate.text for r in shown] == ["bb"]
    assert out[0] == dropped


def test_nothing_to_rank() -> None:
    assert rank([], AT) == ((), ())


def test_odd_log_probabilities() -> None:
    assert texts(Candidate("aa", -math.inf), Candidate("bb", -0.5), Candidate("cc", math.nan))[0] == "bb"


def test_the_text_to_score_is_the_rest_of_the_line_and_the_next_short_lines() -> None:
    at = site("x = f(‸)\r\n\r\na\r\nb\r\nc\r\n")
    prompt = build(at, PromptLimits(), estimate)
    assert scoring_prompt(at, prompt, Candidate("1")) == ("x = f(1", ")\n\na\nb")
    assert scoring_prompt(at, prompt, Candidate("1)", replace=1)) == ("x = f(1)", "\n\na\nb\nc")


def test_there_is_nothing_to_score_at_the_end() -> None:
    at = site("x = ‸\n\n  \n")
    assert scoring_prompt(at, build(at, PromptLimits(), estimate), Candidate("1")) is None


def test_a_long_line_is_scored_in_part() -> None:
    at = site("x = ‸\n" + "y" * 10_000)
    scored = scoring_prompt(at, build(at, PromptLimits(), estimate), Candidate("1"))
    assert scored is not None
    assert len(scored[1]) < 100


def test_a_line_that_says_enough_is_scored_alone() -> None:
    at = site("x = ‸\n\nresult = combine(first, second)\nreturn result\n")
    scored = scoring_prompt(at, build(at, PromptLimits(), estimate), Candidate("1"))
    assert scored == ("x = 1", "\n\nresult = combine(first, second)")
