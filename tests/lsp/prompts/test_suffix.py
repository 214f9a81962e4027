"""The text after the cursor, for models that fill in the middle."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.golden import site

from codegen_lsp.lsp.code.cursor import at_offset
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.prompts.prompt import PromptLimits, build
from codegen_lsp.lsp.prompts.suffix import choose
from codegen_lsp.lsp.prompts.token_counter import TokenCounter

TOKENS = re.compile(r" ?\w{1,6}|\s+|[^\w\s]")
FILLS = PromptLimits(
    context=240, line_tokens=20, block_tokens=40, suffix_tokens=40, fill_tokens=3, order="spm"
)


def count(text: str) -> int:
    return len(TOKENS.findall(text))


COUNTER = TokenCounter(count)
BELOW = "".join(f"    name_{n} = value[{n}]\n" for n in range(100))


def test_a_prompt_holds_the_text_after_the_cursor() -> None:
    prompt = build(site("def f(x):\r\n    y = ‸)\r\n    return y\r\n"), FILLS, count)
    assert prompt.text == "def f(x):\n    y = "
    assert prompt.suffix == ")\n    return y\n"
    assert prompt.order == "spm"
    assert prompt.tokens >= count(prompt.text) + count(prompt.suffix) + 3


@pytest.mark.parametrize("after", ["", "\n", "  \n\n"])
def test_nothing_after_the_cursor(after: str) -> None:
    prompt = build(site(f"x = 1\ny = ‸{after}"), FILLS, count)
    assert (prompt.suffix, prompt.order) == ("", "left-to-right")


def test_a_model_that_does_not_fill() -> None:
    prompt = build(site("y = ‸\nreturn y\n"), PromptLimits(), count)
    assert (prompt.suffix, prompt.order) == ("", "left-to-right")


def test_it_ends_at_a_line_within_the_budget() -> None:
    suffix = choose(site("def f(value):\n    ‸\n" + BELOW), 40, COUNTER)
    assert suffix.endswith("\n")
    assert suffix.startswith("\n    name_0")
    assert 20 < count(suffix) <= 41
    assert BELOW.startswith(suffix[1:])


def test_it_stays_while_a_line_is_typed() -> None:
    """Whatever is typed, and whatever brackets the editor closes: the lines below are the same."""
    line = "total = sum(value[0], name(x))"
    seen = set()
    for end in range(len(line) + 1):
        for closed in ("", ")", "])"):
            text = f"def f(value):\n    {line[:end]}‸{closed}\n" + BELOW
            seen.add(choose(site(text), 40, COUNTER).removeprefix(closed))
    assert len(seen) == 1


def test_a_line_more_leaves_it_too() -> None:
    first = choose(site("def f(value):\n    a = 1‸\n" + BELOW), 40, COUNTER)
    second = choose(site("def f(value):\n    a = 1\n    b‸\n" + BELOW), 40, COUNTER)
    assert first == second


@given(before=st.text("ab\n =()", max_size=2000), after=st.text("ab\n =()", max_size=2000))
def test_prompt_and_suffix_fit_into_the_context_together(before: str, after: str) -> None:
    cursor = at_offset(before + after, len(before), language="python")
    prompt = build(Site.of(cursor), FILLS, count)
    total = count(prompt.text) + count(prompt.suffix) + (FILLS.fill_tokens if prompt.suffix else 0)
    assert total + prompt.max_tokens <= FILLS.context
    assert before.replace("\r", "").endswith(prompt.window)
    assert after.startswith(prompt.suffix)
