"""The filters: golden cases of what is inserted and what is dropped, and what holds of any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.golden import GoldenCase, cases, cursor

from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.code.positions import offset_at
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.prompts.prompt import PromptLimits, build
from codegen_lsp.lsp.prompts.token_counter import estimate
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.suggest import edits, filters
from codegen_lsp.lsp.suggest.values import Candidate, Ranked, Verdict


@pytest.mark.parametrize("case", cases("filters"), ids=str)
def test_golden(case: GoldenCase) -> None:
    at = case.cursor()
    prompt = build(Site.of(at), PromptLimits(), estimate, case.options.get("shape"))  # type: ignore[arg-type]
    candidate = Candidate(text=case.one("candidate"), finish=case.options.get("finish", "stop"))
    verdict = filters.run(candidate, Site.of(at), prompt)
    if case.has("reason"):
        assert verdict.reason == case.one("reason"), verdict
    else:
        assert verdict.reason is None, verdict
        assert applied(at, verdict.candidate) == case.one("result"), verdict
    changed = verdict.candidate.text != candidate.text or verdict.reason is not None
    assert bool(verdict.trail) >= (changed and "\r" not in candidate.text)


@pytest.mark.parametrize("case", cases("filters"), ids=str)
def test_a_stream_that_is_left_early_gives_what_all_of_it_gives(case: GoldenCase) -> None:
    at = case.cursor()
    prompt = build(Site.of(at), PromptLimits(), estimate, case.options.get("shape"))  # type: ignore[arg-type]
    text = case.one("candidate")
    whole = filters.run(Candidate(text=text), Site.of(at), prompt)
    for end in range(len(text)):
        if filters.is_complete(text[:end], Site.of(at), prompt):
            part = filters.run(Candidate(text=text[:end]), Site.of(at), prompt)
            assert outcome(part) == outcome(whole), text[:end]
            break


@pytest.mark.parametrize("text", ["", "    ", "\n", "    total =", "    total = \n"])
def test_nothing_is_nothing_where_the_code_below_hints_at_a_start(text: str) -> None:
    at = cursor("def f(x):\n‸\n    print(total)\n")
    prompt = build(Site.of(at), PromptLimits(), estimate)
    assert prompt.start == "    total ="
    assert filters.run(Candidate(text), Site.of(at), prompt).reason == Reason.EMPTY


def test_streams_are_left_at_the_line_end_and_at_the_dedent() -> None:
    line, block = cursor("x = ‸"), cursor("def f():‸")
    prompts = [build(Site.of(c), PromptLimits(), estimate) for c in (line, block)]
    assert not filters.is_complete("1", Site.of(line), prompts[0])
    assert filters.is_complete("1\n", Site.of(line), prompts[0])
    assert not filters.is_complete("\n    return 1\n\n\n", Site.of(block), prompts[1])
    assert filters.is_complete("\n    return 1\n\n\nd", Site.of(block), prompts[1])


def test_a_stream_that_goes_round_in_circles_is_left() -> None:
    at = cursor("def f():\n    ‸")
    prompt = build(Site.of(at), PromptLimits(), estimate, "block")
    assert not filters.is_complete(
        "x(1)\n    y(1)\n    x(1)\n    y(1)\n    x(1)\n    y(1)", Site.of(at), prompt
    )
    assert filters.is_complete(
        "x(1)\n    y(1)\n    x(1)\n    y(1)\n    x(1)\n    y(1)\n", Site.of(at), prompt
    )


def test_the_trail_says_what_each_filter_did() -> None:
    at = cursor("print(‸)")
    verdict = filters.run(
        Candidate(text='"x") \ny = 1'), Site.of(at), build(Site.of(at), PromptLimits(), estimate)
    )
    assert verdict.candidate.raw == '"x") \ny = 1'
    assert [sentence.split(":")[0] for sentence in verdict.trail] == ["extent", "trailing", "overlap"]
    assert "”" in verdict.trail[-1]
    assert ")" in verdict.trail[-1]


def test_the_confidence_is_that_of_what_is_kept() -> None:
    at = cursor("x = ‸")
    tokens, logprobs = (" =", " ", "fo", "o", "\n", "bar"), (-0.1, -0.1, -0.2, -0.4, -5.0, -9.0)
    candidate = Candidate("foo\nbar", -2.5, tokens=tokens, token_logprobs=logprobs)
    verdict = filters.run(candidate, Site.of(at), build(Site.of(at), PromptLimits(), estimate))
    assert verdict.candidate.mean_logprob == pytest.approx(-0.2)


PIECES = [
    *"ab1 \t\n\r\"'`()[]{}:;,.#=/\\",
    "def f",
    "return ",
    '"""',
    "😋",
    "e\u0301",
    "    ",
    "if x:",
    "// ",
]
CODE = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
LANGUAGES = st.sampled_from(["python", "c", "go", "javascript", "plaintext"])


@given(CODE, CODE, CODE, LANGUAGES, st.sampled_from(["line", "block"]), st.sampled_from(["stop", "length"]))
def test_any_candidate_in_any_document(
    before: str, after: str, text: str, language: str, shape: str, finish: str
) -> None:
    at = cursor(f"{before}‸{after}", language)
    prompt = build(Site.of(at), PromptLimits(), estimate, shape)  # type: ignore[arg-type]
    verdict = filters.run(Candidate(text=text, finish=finish), Site.of(at), prompt)
    assert verdict.reason is None or isinstance(verdict.reason, Reason)
    if verdict.reason is None:
        kept = verdict.candidate
        assert kept.text.strip()
        assert kept.text == kept.text.rstrip() or at.line_suffix
        assert kept.replace <= len(at.line_suffix)
        if shape == "line":
            assert "\n" not in kept.text
        document = applied(at, kept)
        assert document.startswith(at.prefix)
        assert document.endswith(at.suffix[kept.replace :])


@given(CODE, CODE, LANGUAGES, st.sampled_from(["line", "block"]))
def test_what_a_stream_shows_once_complete_stays(before: str, text: str, language: str, shape: str) -> None:
    at = cursor(f"{before}‸", language)
    prompt = build(Site.of(at), PromptLimits(), estimate, shape)  # type: ignore[arg-type]
    whole = filters.run(Candidate(text=text), Site.of(at), prompt)
    for end in range(len(text)):
        if filters.is_complete(text[:end], Site.of(at), prompt):
            part = filters.run(Candidate(text=text[:end]), Site.of(at), prompt)
            assert outcome(part) == outcome(whole)


def outcome(verdict: Verdict) -> str:
    return verdict.reason or verdict.candidate.text


def applied(at: Cursor, candidate: Candidate) -> str:
    """The document after the client applied the edit, as it would: from LSP columns."""
    document = at.prefix + at.suffix
    (item,) = edits.inline_items([Ranked(candidate, 0.0)], at, "utf-16", ["id"])
    assert item.range is not None
    assert isinstance(item.insert_text, str)
    start, _ = offset_at(document, item.range.start.line, item.range.start.character, "utf-16")
    end, _ = offset_at(document, item.range.end.line, item.range.end.character, "utf-16")
    return document[:start] + item.insert_text + document[end:]
