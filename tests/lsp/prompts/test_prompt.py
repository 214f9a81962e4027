"""Prompts: shape, window, header and budget."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pygls.protocol.json_rpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.golden import GoldenCase, cases, cursor, site
from tokenizers import Tokenizer

import codegen_lsp
from codegen_lsp.lsp.code.bodies import body_target
from codegen_lsp.lsp.code.cursor import Cursor, at_offset
from codegen_lsp.lsp.code.lines import normalize
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.prompts.prompt import Prompt, PromptLimits, build, build_body, decide_shape
from codegen_lsp.lsp.prompts.token_counter import TokenCounter, estimate
from codegen_lsp.lsp.suggest import filters
from codegen_lsp.lsp.suggest.rank import rank, scoring_prompt
from codegen_lsp.lsp.suggest.values import Candidate

TOKENS = re.compile(r" ?\w{1,6}|\s+|[^\w\s]")
REAL = Path(pygls.protocol.json_rpc.__file__).read_text(encoding="utf-8")
SMALL = PromptLimits(context=200, line_tokens=20, block_tokens=40, body_tokens=60)


def count(text: str) -> int:
    """Tokens as a byte-pair encoding would have them, roughly: runs of white space go across lines."""
    return len(TOKENS.findall(text))


@pytest.mark.parametrize("case", cases("shape"), ids=str)
def test_shape(case: GoldenCase) -> None:
    assert decide_shape(case.site()) == case.one("shape")


@pytest.mark.parametrize("case", cases("prompt"), ids=str)
def test_golden(case: GoldenCase) -> None:
    limits = PromptLimits(context=int(case.options["context"]), line_tokens=10, block_tokens=10)
    prompt = build(case.site(), limits, count)
    assert prompt.text == prompt.header + prompt.window
    assert prompt.header == case.one("header") + "\n"
    assert prompt.window == case.one("window")
    assert count(prompt.text) <= prompt.tokens <= limits.context - prompt.max_tokens


def test_a_small_file_is_sent_as_it_is() -> None:
    prompt = build(site("import os\r\n\r\nos.‸\r\nx"), PromptLimits(), count)
    assert (prompt.text, prompt.header) == ("import os\n\nos.", "")
    assert (prompt.shape, prompt.stop, prompt.max_tokens) == ("line", ("\n",), PromptLimits().line_tokens)
    assert count(prompt.text) <= prompt.tokens <= count(prompt.text) + 3


def test_python_that_is_indented_by_tabs_is_shown_to_the_model_with_spaces() -> None:
    at = cursor("def f(a):\n\tif a:\n\t\tx = 'a\tb'\n\t\t‸\n\treturn y\n")
    assert (
        build(Site.of(at), PromptLimits(), count).text == "def f(a):\n    if a:\n        x = 'a\tb'\n        "
    )
    assert lines_of_scoring(at, "y = x") == ("        y = x", "    return y")
    go = cursor("func f() {\n\tx()\n\t‸\n", language="go")
    assert build(Site.of(go), PromptLimits(), count).text == "func f() {\n\tx()\n\t"


def lines_of_scoring(at: Cursor, text: str) -> tuple[str, str]:
    """The last line that is read, and the line that is scored after it."""
    pair = scoring_prompt(Site.of(at), build(Site.of(at), PromptLimits(), count), Candidate(text))
    assert pair is not None
    return pair[0].rpartition("\n")[2], pair[1].strip("\n")


def test_healing_is_asked_for_where_a_token_may_be_ragged() -> None:
    assert build(site("x\npri‸"), PromptLimits(), count).heal
    assert build(site("if x:\n   ‸"), PromptLimits(), count).heal
    assert not build(site("x\n‸"), PromptLimits(), count).heal
    assert not build(site("‸"), PromptLimits(), count).heal


def test_a_byte_order_mark_is_not_sent() -> None:
    assert build(site("\ufeffimport ‸"), PromptLimits(), count).text == "import "


@pytest.mark.parametrize(
    ("marked", "language", "lines"),
    [
        ("def f():‸", "python", 3),
        ("class A‸", "ruby", 4),
        ("local function f()‸", "lua", 4),
        ("int f() {‸", "c", 4),
    ],
)
def test_a_block_that_shows_its_own_end_may_hold_two_blank_lines(
    marked: str, language: str, lines: int
) -> None:
    assert build(site(marked, language), PromptLimits(), estimate).stop == ("\n" * lines,)


def test_a_block_has_its_own_length_and_stop() -> None:
    prompt = build(site("def f():‸"), PromptLimits(), count)
    assert (prompt.shape, prompt.stop, prompt.max_tokens) == (
        "block",
        ("\n\n\n",),
        PromptLimits().block_tokens,
    )
    assert build(site("x = ‸"), PromptLimits(), count, "block").shape == "block"


def typed(text: str, offset: int, keys: str, language: str = "python") -> list[tuple[Cursor, Prompt]]:
    """The prompts while someone types."""
    counter = TokenCounter(count)
    found = []
    for i in range(len(keys) + 1):
        at = at_offset(text[:offset] + keys[:i] + text[offset:], offset + i, language=language)
        found.append((at, build(Site.of(at), PromptLimits(), counter)))
    return found


@pytest.mark.parametrize("part", [0.5, 0.7, 0.9])
def test_the_start_stays_while_300_characters_are_typed(part: float) -> None:
    offset = REAL.index("\n", int(len(REAL) * part))
    prompts = typed(REAL, offset, "\n        value = self.compute(other, more=1)" * 7)
    starts = {len(normalize(at.prefix)) - len(prompt.window) for at, prompt in prompts}
    assert 0 not in starts
    assert len(starts) <= 2
    assert len({prompt.header for _, prompt in prompts}) <= 2
    for at, prompt in prompts:
        assert count(prompt.text) + prompt.max_tokens <= 2048
        assert at.prefix.endswith(prompt.window)
        assert len(prompt.window) > 2000


def test_the_prompts_of_two_keystrokes_share_all_but_the_last_token() -> None:
    offset = REAL.index("\n", len(REAL) * 2 // 3)
    prompts = [prompt.text for _, prompt in typed(REAL, offset, "\n        x = self")]
    assert sum(b.startswith(a) for a, b in pairwise(prompts)) == len(prompts) - 1


def test_typing_a_definition_leaves_the_header_alone() -> None:
    offset = REAL.index("\n", len(REAL) * 2 // 3)
    keys = "\n\n    def added(self, value: int) -> str:\n        "
    assert len({prompt.header for _, prompt in typed(REAL, offset, keys)}) == 1


def test_the_header_tells_of_definitions_below_the_cursor() -> None:
    filler = "".join(f"    value_{i} = compute({i})\n" for i in range(60))
    below = "def below(a: int) -> str:\n    '''Say it.'''\n    return a\n"
    text = f"import os\n\ndef first():\n{filler}    x = ‸\n\n{below}"
    prompt = build(site(text), PromptLimits(context=400), count)
    assert prompt.header.startswith("import os\n")
    assert "def below(a: int) -> str:\n    '''Say it.'''\n" in prompt.header
    assert "return a" not in prompt.text
    assert prompt.header.endswith("def first():\n")


def test_a_docstring_right_above_the_cursor_is_never_cut() -> None:
    words = " ".join(f"word{i}" for i in range(60))
    text = "x = 1\n" * 500 + f'def f(a, b):\n    """{words}\n\n    {words}\n    """\n    ‸'
    prompt = build(site(text), PromptLimits(context=300, block_tokens=20), count)
    assert f'def f(a, b):\n    """{words}' in prompt.window
    assert prompt.tokens + prompt.max_tokens <= 300


def test_comments_right_above_the_cursor_are_never_cut() -> None:
    comment = "".join(f"# Then do step {i} of it.\n" for i in range(25))
    prompt = build(site("x = 1\n" * 500 + comment + "‸"), PromptLimits(context=300, block_tokens=20), count)
    assert comment in prompt.window


def test_a_window_does_not_start_within_a_docstring() -> None:
    doc = '    """' + "    Some words about it.\n" * 20 + '    """\n'
    text = "".join(f"def f{i}():\n{doc}    return {i}\n\n\n" for i in range(20)) + "x = ‸"
    for context in range(500, 1100, 50):
        prompt = build(site(text), PromptLimits(context=context, line_tokens=10), count)
        assert prompt.window.count('"""') % 2 == 0


def test_a_line_longer_than_the_budget_is_cut_within() -> None:
    prompt = build(site("var a = " + "b+c;" * 5000 + "‸", "javascript"), PromptLimits(), count)
    assert prompt.window.endswith("b+c;")
    assert 1000 < prompt.tokens <= 2000


@pytest.mark.parametrize(
    ("language", "unit"),
    [
        ("c", "/* doubles */\nint twice{i}(int a) {{\n    return a * 2;\n}}\n\n"),
        ("cpp", "class A{i} : B {{\n public:\n  int f(int a) {{ return a; }}\n}};\n"),
        ("go", "// Twice doubles.\nfunc Twice{i}(a int) int {{\n\treturn a * 2\n}}\n\n"),
        ("java", "class A{i} {{\n    /** Doubles. */\n    int f(int a) {{\n        return a;\n    }}\n}}\n"),
        ("javascript", "// doubles\nfunction twice{i}(a) {{\n  return a * 2;\n}}\n\n"),
    ],
)
def test_other_languages_have_headers(language: str, unit: str) -> None:
    text = "".join(unit.format(i=i) for i in range(100)) + "‸\n" + unit.format(i="Below")
    prompt = build(site(text, language), PromptLimits(), count)
    assert "Below" in prompt.header
    assert "return" not in prompt.header
    assert count(prompt.text) + prompt.max_tokens <= 2048


def test_a_language_without_a_grammar_has_the_whole_budget_for_its_window() -> None:
    prompt = build(site("some words here\n" * 2000 + "‸", "plaintext"), PromptLimits(), count)
    assert prompt.header == ""
    assert prompt.tokens > 1400


def test_the_budget_holds_with_a_real_tokenizer() -> None:
    tokenizer = Tokenizer.from_file(str(Path(codegen_lsp.__file__).parent / "nano/model/tokenizer.json"))
    counter = TokenCounter(lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids))
    for text in (REAL, REAL.replace(":\n", ": \n"), REAL.replace("\n", "\t\n"), REAL.replace("e", "😋é")):
        for part in (3, 5, 8, 9):
            at = at_offset(text, len(text) * part // 9, language="python")
            prompt = build(Site.of(at), PromptLimits(), counter)
            assert counter.exact(prompt.text) + prompt.max_tokens <= 2048
            assert prompt.tokens > 1000 or part == 3


def test_limits_that_leave_no_room() -> None:
    prompt = build(site(REAL + "‸"), PromptLimits(context=8, line_tokens=100, block_tokens=100), count)
    assert prompt.max_tokens >= 1
    assert prompt.tokens + prompt.max_tokens <= 8


TEXT = st.lists(
    st.sampled_from(
        [
            "import os\n",
            "def f(a):\n",
            "    x = 1\n",
            "😋 é\n",
            "\r\n",
            "\r",
            "{\n",
            "}\n",
            '"""',
            "# c\n",
            "word ",
        ]
    ),
    max_size=120,
).map("".join)


@given(TEXT, TEXT, st.integers(2, 300), st.sampled_from(["python", "c", "java", "plaintext"]))
def test_a_prompt_ends_with_the_prefix_and_keeps_the_budget(
    before: str, after: str, context: int, language: str
) -> None:
    at = at_offset(before + after, len(before), language=language)
    limits = PromptLimits(context=context, line_tokens=10, block_tokens=30)
    for counter in (count, estimate):
        prompt = build(Site.of(at), limits, counter)
        assert normalize(at.prefix).endswith(prompt.window)
        assert prompt.text == prompt.header + prompt.window
        assert counter(prompt.text) + prompt.max_tokens <= context
        assert prompt.tokens >= counter(prompt.text) or counter is count


def body_prompt(marked: str) -> Prompt:
    """Build the prompt for the body at the mark."""
    at = cursor(marked)
    target = body_target(at)
    assert target is not None
    return build_body(at, target, PromptLimits(), count)


def test_a_body_is_asked_for_with_what_came_before() -> None:
    prompt = body_prompt("# Make a list.\nxs = [1, 2]\n\n# Add them up.‸\n\nprint(1)\n")
    assert prompt.text == "# Make a list.\nxs = [1, 2]\n\n# Add them up.\n"
    assert (prompt.shape, prompt.max_tokens, prompt.body) == ("block", PromptLimits().body_tokens, True)


def test_a_body_of_a_function_starts_at_its_indentation() -> None:
    prompt = body_prompt('class A:\n  def f(self, x):\n    """Double‸ it."""\n    pass\n\nx = 1\n')
    assert prompt.text == 'class A:\n  def f(self, x):\n    """Double it."""\n    '
    assert prompt.heal


@pytest.mark.parametrize(
    ("language", "unit"),
    [
        ("java", "{\n"),
        ("javascript", "((("),
        ("javascript", 'var é="😋";'),
        ("python", '"""\n'),
        ("python", "class A:\n" + " " * 30),
        ("c", "int f() {\r\n}\r\n"),
        ("c", "x;\r"),
        ("python", " "),
        ("python", "\n"),
    ],
)
def test_large_and_strange_documents(language: str, unit: str) -> None:
    text = unit * (400_000 // len(unit))
    at = at_offset(text, len(text) // 2, language=language)
    prompt = build(Site.of(at), PromptLimits(), count)
    assert count(prompt.text) + prompt.max_tokens <= 2048
    assert normalize(at.prefix).endswith(prompt.window)
    body_target(at)
    verdict = filters.run(Candidate("foo(bar)\n    return 1\n\nx = {"), Site.of(at), prompt)
    rank([replace(verdict, reason=None)], Site.of(at))
