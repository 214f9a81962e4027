"""Documents made to be slow: every function over document text, and a server that goes on answering."""

from __future__ import annotations

import time

import pytest

from codegen_lsp.lsp.code.bodies import body_target
from codegen_lsp.lsp.code.cursor import at_offset
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.code.syntax import DEADLINE, encode, error_count, parse
from codegen_lsp.lsp.prompts.outline import outline
from codegen_lsp.lsp.prompts.prompt import PromptLimits, build
from codegen_lsp.lsp.prompts.token_counter import TokenCounter, estimate
from codegen_lsp.lsp.suggest import filters, rank
from codegen_lsp.lsp.suggest.values import Candidate

SECONDS = 5.0
"""Generous: what these texts took before they were bounded is minutes."""
BOMBS = [
    ("c", "/* "),
    ("cpp", "/* /* "),
    ("go", "/* "),
    ("javascript", "(/[x"),
    ("python", "def f(a, b="),
    ("python", "'''\n\"\"\"\n"),
    ("python", "    x, \n"),
    ("ruby", "do |x| do "),
    ("makefile", "::"),
    ("html", "<a <a "),
    ("lua", "function ("),
    ("yaml", ": : "),
    ("plaintext", "case : "),
    ("cpp", "a<a."),
    ("java", "a<"),
    ("c", "x=>"),
    ("java", "x=>"),
    ("java", "x(>"),
    ("python", "---\n"),
    ("python", "# a\n"),
    ("python", "-"),
]


@pytest.mark.parametrize("size", [50_000, 1_000_000])
@pytest.mark.parametrize(("language", "bomb"), BOMBS)
def test_a_request_takes_bounded_time(language: str, bomb: str, size: int) -> None:
    text = bomb * (size // len(bomb))
    started = time.process_time()
    for offset in (len(text), len(text) // 2):
        cursor = at_offset(text, offset, language=language)
        site = Site.of(cursor)
        prompt = build(site, PromptLimits(), TokenCounter(estimate))
        candidate = Candidate(bomb * 50 + "\n" + bomb, -0.5)
        verdict = filters.run(candidate, site, prompt)
        filters.is_complete(candidate.text, site, prompt)
        rank.rank([verdict], site)
        body_target(cursor)
    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize(
    ("language", "bomb"),
    [
        ("c", "/* "),
        ("cpp", "/* /* "),
        ("go", "/* "),
        ("cpp", "a<a."),
        ("cpp", "a<a.;\n"),
        ("java", "a<b<"),
        ("c", "x=>"),
        ("java", "x=>"),
        ("java", "x(>"),
    ],
)
def test_a_parse_has_a_deadline_and_no_tree_is_an_answer(language: str, bomb: str) -> None:
    text = bomb * (24_000 // len(bomb)) if "<" in bomb or ">" in bomb else bomb * (50_000 // len(bomb))
    started = time.thread_time()
    assert parse(language, encode(text)) is None
    assert outline(language, text).definitions == ()
    assert error_count(language, text) == 0
    assert time.thread_time() - started < 10 * DEADLINE
