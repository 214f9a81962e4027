"""Parsing half-typed code: errors, outlines, and where a body belongs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types as lsp
from support.golden import GoldenCase, cases, cursor

from codegen_lsp.lsp.code import bodies, syntax
from codegen_lsp.lsp.code.cursor import at_offset
from codegen_lsp.lsp.code.positions import offset_at
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.prompts.outline import outline
from codegen_lsp.lsp.prompts.prompt import PromptLimits, build_body
from codegen_lsp.lsp.prompts.token_counter import estimate
from codegen_lsp.lsp.suggest import edits, filters
from codegen_lsp.lsp.suggest.values import Candidate

ALL = ["python", "c", "cpp", "go", "java", "javascript", "javascriptreact"]


@pytest.mark.parametrize("case", cases("body"), ids=str)
def test_body(case: GoldenCase) -> None:
    at = case.cursor()
    target = bodies.body_target(at)
    if case.has("none"):
        assert target is None
        return
    assert target is not None
    assert target.title == case.one("title")
    prompt = build_body(at, target, PromptLimits(), estimate)
    verdict = filters.run(Candidate(case.one("candidate"), finish="stop"), Site.of(target.cursor(at)), prompt)
    assert verdict.reason is None
    edit = edits.body_edit(at, target, verdict.candidate.text, "utf-16")
    assert edit.changes is not None
    (change,) = edit.changes["file:///a"]
    assert applied(at.prefix + at.suffix, change) == case.one("result")


def applied(document: str, edit: lsp.TextEdit) -> str:
    start, end = (
        offset_at(document, p.line, p.character, "utf-16")[0] for p in (edit.range.start, edit.range.end)
    )
    return document[:start] + edit.new_text + document[end:]


def test_a_body_stops_where_the_next_turn_would_start() -> None:
    at = cursor("# Make a list.\nxs = [1, 2]\n\n# Add them up.‸\n")
    target = bodies.body_target(at)
    assert target is not None
    prompt = build_body(at, target, PromptLimits(), estimate)
    text = "total = 0\n\nfor x in xs:\n    total += x\n\n# Print it.\nprint(total)\n"
    verdict = filters.run(Candidate(text, finish="length"), Site.of(target.cursor(at)), prompt)
    assert verdict.candidate.text == "total = 0\n\nfor x in xs:\n    total += x"
    assert filters.is_complete(text, Site.of(target.cursor(at)), prompt)


def test_the_target_of_a_versioned_document_is_edited_at_that_version() -> None:
    at = at_offset("def f():", 8, language="python", uri="file:///a", version=7)
    target = bodies.body_target(at)
    assert target is not None
    (change,) = edits.body_edit(at, target, "pass", "utf-16").document_changes or ()
    assert isinstance(change, lsp.TextDocumentEdit)
    assert change.text_document.version == 7


@pytest.mark.parametrize("language", ALL)
def test_each_grammar_is_there(language: str) -> None:
    assert syntax.supported(language)
    assert syntax.error_count(language, "") == 0
    assert syntax.error_count(language, "((( ]]] \x00 😋") > 0


def test_a_language_without_a_grammar_has_no_errors_and_no_outline() -> None:
    assert not syntax.supported("ruby")
    assert syntax.error_count("ruby", "((((") == 0
    assert outline("ruby", "def f; end") == outline("ruby", "")


def test_mending_code_counts() -> None:
    assert (
        syntax.error_count("python", "print(a\nx = 1\n")
        > syntax.error_count("python", "print(a)\nx = 1\n")
        == 0
    )


OUTLINED = {
    "python": (
        "import é\n@d\nclass A:\n    '''Doc.'''\n    def f(self, x): return 1\n",
        "def f(self, x): ...",
    ),
    "c": (
        "#include <a.h>\n/* Doc. */\nstatic int f(int x)\n{\n  return 1;\n}\n",
        "/* Doc. */\nstatic int f(int x);",
    ),
    "cpp": ("#include <a>\ntemplate <class T> struct A {\n  T f(int x) { return 1; }\n};\n", "T f(int x)"),
    "go": (
        'package p\nimport "é"\n// Doc.\nfunc (t *T) F(x int) int {\n\treturn 1\n}\n',
        "func (t *T) F(x int) int",
    ),
    "java": ("import a.b;\nclass A {\n  /** Doc. */\n  int f(int x) { return 1; }\n}\n", "int f(int x)"),
    "javascript": ('import a from "é";\nexport class A {\n  f(x) { return 1 }\n}\n', "f(x)"),
}


@pytest.mark.parametrize("language", OUTLINED)
def test_an_outline_has_imports_and_signatures_and_no_bodies(language: str) -> None:
    text, stub = OUTLINED[language]
    found = outline(language, text)
    assert len(found.imports) >= 1
    stubs = "\n".join(d.stub() for d in found.definitions)
    assert stub in stubs
    assert "return" not in stubs
    assert ("Doc." in text) == ("Doc." in stubs)


def test_what_is_open_at_the_end_encloses() -> None:
    text = "class A:\n    def f(self):\n        def g():\n            x = 1\n        for i in x:\n            call(\n"
    assert [d.name for d in outline("python", text, " " * 16).enclosing()] == ["A", "f"]
    assert [d.name for d in outline("python", text + "1)\n", "").enclosing()] == []
    assert [d.name for d in outline("java", "class A {\n  int f() {\n    if (x) {\n", "").enclosing()] == [
        "A",
        "f",
    ]


PIECES = [
    "def f(x):\n",
    "class A {\n",
    "    ",
    '"""',
    "}",
    "{",
    "(",
    "😋",
    "é",
    "\r\n",
    "\n",
    "\ud800",
    "# c",
    "/*",
    "pass",
    "\x00",
    "@",
    "import a\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.integers(0, 200), st.sampled_from(ALL))
def test_nothing_breaks_on_half_typed_code(text: str, offset: int, language: str) -> None:
    at = at_offset(text, offset, language=language)
    target = bodies.body_target(at)
    syntax.error_count(language, text)
    outline(language, text, "    ")
    if target is not None:
        assert 0 <= target.start <= target.end <= len(text)
        moved = target.cursor(at)
        assert moved.prefix.startswith(text[: target.start])
        assert moved.suffix.endswith(text[target.end :])
