"""Python read as statements: names, targets, and what strings, comments and brackets hide."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codegen_lsp.lsp.code.statements import Statement, read


def only(code: str) -> Statement:
    (statement,) = read(code + "\n").statements
    return statement


@pytest.mark.parametrize(
    ("code", "targets", "needs"),
    [
        ("x = x + 1", ["x"], ["x"]),
        ("c, d = n.split('/')", ["c", "d"], ["n"]),
        ("(a, b), *c = x", ["a", "b", "c"], ["x"]),
        ("a = b = c", ["a", "b"], ["c"]),
        ("x: int = y", ["x"], ["y"]),
        ("x: Text", ["x"], ["Text"]),
        ("x[i] = y", [], ["x", "i", "y"]),
        ("self.x = y", [], ["self", "y"]),
        ("x += y", [], ["x", "y"]),
        ("x = y == z", ["x"], ["y", "z"]),
        ("y = f(a=b, c=d)", ["y"], ["f", "b", "d"]),
        ("for i, x in enumerate(y):", [], ["y"]),
        ("d = {k: v for k, v in z}", ["d"], ["z"]),
        ("y = lambda q: q + z", ["y"], ["z"]),
        ("with open(p) as f:", [], ["p"]),
        ("if (n := g(x)) > 1:", [], ["g", "x"]),
        ("def f(a, b=c) -> D:", [], []),
        ("print(x, 'y', f'{z}')  # w", [], ["x"]),
        ("else:", [], []),
        ("naïve = größe", ["naïve"], ["größe"]),
    ],
)
def test_what_a_statement_binds_and_needs(code: str, targets: list[str], needs: list[str]) -> None:
    statement = only(code)
    assert statement.targets() == targets
    assert statement.needs() == needs


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import os, sys as system", {"os", "sys", "system"}),
        ("from a.b import (c,\n  d)", {"c", "d"}),
        ("for i, x in y:", {"i", "x"}),
        ("except (A, B) as error:", {"error"}),
        ("class A(B):", {"A"}),
    ],
)
def test_names_are_bound_by_many_statements(code: str, names: set[str]) -> None:
    assert names <= only(code).binds()


def test_strings_comments_brackets_and_joins_are_seen_through() -> None:
    code = read('"""doc\nx = 1\n"""\nif a:  # b\n\tc = (1,\n  2)\\\n + 3\n\n    d\n')
    assert [(s.indent, s.code) for s in code.statements] == [
        (0, "if a:"),
        (8, "c = (1,   2)  + 3"),
        (4, "d"),
    ]
    assert not code.ends_within
    assert not code.closes


@pytest.mark.parametrize("text", ["x = (1,\n", "x = '''a\nb\n", 'f("""', "x = [\n    1,\n"])
def test_the_end_within_brackets_or_a_string_is_told(text: str) -> None:
    assert read(text).ends_within


def test_a_bracket_that_was_opened_before_is_told() -> None:
    assert read("    1,\n    2,\n]\nx = 1\n").closes


@settings(deadline=None)
@given(st.text(alphabet="ab=:()[]{}'\"\\\n \t#.,fé😀"))
@example(":](é=")
def test_any_text_can_be_read(text: str) -> None:
    for statement in read(text).statements:
        assert statement.indent >= 0
        assert set(statement.needs()) <= set(statement.names())
        assert all(isinstance(name, str) for name in statement.binds())
