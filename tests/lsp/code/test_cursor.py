"""Documents and positions: every encoding, every line ending, every place out of range."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types as lsp
from pygls.workspace import TextDocument

from codegen_lsp.lsp.code import cursor as cursors
from codegen_lsp.lsp.code import positions
from codegen_lsp.lsp.code.cursor import Cursor

ENCODINGS = ["utf-8", "utf-16", "utf-32"]


def read(text: str, line: int, column: int, encoding: str = "utf-16", **options: object) -> Cursor:
    document = TextDocument("file:///a.py", text, version=3, language_id="python")
    return cursors.read(document, lsp.Position(line, column), encoding, **options)  # type: ignore[arg-type]


def test_a_cursor_holds_the_document() -> None:
    at = read("a\nbc\nd", 1, 1)
    assert (at.prefix, at.suffix, at.line) == ("a\nb", "c\nd", 1)
    assert (at.line_prefix, at.line_suffix, at.offset) == ("b", "c", 3)
    assert (at.uri, at.language, at.version) == ("file:///a.py", "python", 3)


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 7), ("utf-16", 5), ("utf-32", 4)])
def test_columns_after_an_emoji(encoding: str, column: int) -> None:
    assert read('s="😋"', 0, column, encoding).prefix == 's="😋'
    assert read('s="😋"', 0, column + 1, encoding).suffix == ""


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_combining_characters_are_characters_of_their_own(encoding: str) -> None:
    text = "e\u0301x"
    assert read(text, 0, positions.units("e\u0301", encoding), encoding).suffix == "x"


@pytest.mark.parametrize(("encoding", "inside"), [("utf-8", [1, 2, 3]), ("utf-16", [1])])
def test_a_column_within_a_character_is_its_start(encoding: str, inside: list[int]) -> None:
    for column in inside:
        assert read("😋x", 0, column, encoding).prefix == ""


@pytest.mark.parametrize(
    ("line", "column", "prefix"),
    [
        (0, 99, "ab"),
        (1, 99, "ab\ncd"),
        (2, 0, "ab\ncd"),
        (99, 99, "ab\ncd"),
        (0, 0, ""),
        (2**31 - 1, 2**31 - 1, "ab\ncd"),
    ],
)
def test_places_past_the_end_are_clamped(line: int, column: int, prefix: str) -> None:
    at = read("ab\ncd", line, column)
    assert at.prefix == prefix
    assert at.line == prefix.count("\n")


@pytest.mark.parametrize(("line", "column"), [(-1, 3), (0, -1), (-5, -5)])
def test_negative_places_are_the_start(line: int, column: int) -> None:
    assert positions.offset_at("ab\ncd", line, column, "utf-16") == (0, 0)
    assert cursors.at_offset("ab\ncd", -3).prefix == ""


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings(ending: str) -> None:
    text = ending.join(["def f():", "    x", "", "y"])
    at = read(text, 1, 99)
    assert (at.line_prefix, at.line_suffix, at.newline) == ("    x", "", ending)
    assert at.suffix == ending + ending + "y"
    assert read(text, 3, 1).prefix == text
    assert read(text, 2, 5).prefix.endswith("x" + ending)


def test_mixed_line_endings() -> None:
    text = "a\r\nb\rc\nd\r\n"
    assert [read(text, i, 9).line_prefix for i in range(5)] == ["a", "b", "c", "d", ""]
    assert read(text, 0, 0).newline == "\r\n"
    assert read("", 0, 0).newline == "\n"


def test_only_the_line_endings_of_lsp_end_a_line() -> None:
    text = "a\x0cb\u2028c\x0bd\x85e\nf"
    assert read(text, 1, 1).prefix == text
    assert read(text, 0, 99).line_prefix == text[:-2]


def test_a_byte_order_mark_is_a_character() -> None:
    assert read("\ufeffab", 0, 1).prefix == "\ufeff"


def test_a_cursor_is_never_between_carriage_return_and_line_feed() -> None:
    assert cursors.at_offset("a\r\nb", 2).prefix == "a"


@pytest.mark.parametrize(
    ("text", "indent"),
    [
        ("def f():\n    x\n", "    "),
        ("def f():\n  x\n  if x:\n    y\n", "  "),
        ("def f():\n\tx\n", "\t"),
        ("def f():\n        x\n", "        "),
        ("def f():\r\n\tx\r\n", "\t"),
        ("def f(a,\n      b):\n    x = 1\n    if x:\n        y\n", "    "),
        ("/*\n * a\n */\nint f() {\n\tx;\n}\n", "\t"),
        ("", "    "),
        ("x\ny\n", "    "),
    ],
)
def test_indentation_is_read_from_the_file(text: str, indent: str) -> None:
    assert read(text, 0, 0).indent == indent


def test_formatting_options_count_where_the_file_says_nothing() -> None:
    assert read("x", 0, 0, tab_size=2, insert_spaces=True).indent == "  "
    assert read("x", 0, 0, tab_size=8, insert_spaces=False).indent == "\t"
    assert read("if x:\n    y", 0, 0, tab_size=2, insert_spaces=True).indent == "    "
    assert read("x", 0, 0, tab_size=0, insert_spaces=True).indent == "    "


def test_go_is_indented_by_tabs() -> None:
    assert cursors.at_offset("package a", 0, language="go").indent == "\t"


LINES = st.lists(
    st.one_of(st.text("aé😋\t\u0301\ud800", max_size=6), st.sampled_from(["\n", "\r\n", "\r", "\x0c"])),
    max_size=20,
).map("".join)


@given(LINES, st.integers(0, 60), st.sampled_from(ENCODINGS))
def test_positions_go_there_and_back(text: str, offset: int, encoding: str) -> None:
    at = cursors.at_offset(text, offset)
    line, column = positions.position_at(text, at.offset, encoding)
    assert positions.offset_at(text, line, column, encoding) == (at.offset, line)
    assert at.line == line


@given(LINES, st.integers(-3, 12), st.integers(-3, 40), st.sampled_from(ENCODINGS))
def test_any_position_gives_a_cursor(text: str, line: int, column: int, encoding: str) -> None:
    offset, reached = positions.offset_at(text, line, column, encoding)
    at = cursors.at_offset(text, offset, line=reached)
    assert at.prefix + at.suffix == text
    assert at.offset == offset
    assert not set(at.line_prefix + at.line_suffix) & {"\n", "\r"}


def test_places_far_down_a_large_document() -> None:
    lines = ["x" * (i % 97) for i in range(60_000)]
    text = "\n".join(lines)
    chosen = [0, 1, 59_999, *random.Random(0).sample(range(60_000), 50)]
    for line in chosen:
        at = read(text, line, 10_000)
        assert at.line_prefix == lines[line]
        assert at.prefix.count("\n") == line


def selection(text: str, line: int, start: int, end: int, chosen: str, at: Cursor) -> Cursor | None:
    return cursors.select(at, chosen, lsp.Range(lsp.Position(line, start), lsp.Position(line, end)), "utf-16")


def test_a_selected_entry_is_as_good_as_typed() -> None:
    at = read("😋 = pri", 0, 8)
    chosen = selection("", 0, 5, 8, "print", at)
    assert chosen is not None
    assert (chosen.prefix, chosen.suffix) == ("😋 = print", "")
    assert chosen.selected is not None
    assert (chosen.selected.text, chosen.selected.replaced) == ("print", "pri")


def test_a_selected_entry_may_take_the_rest_of_the_word() -> None:
    chosen = selection("", 0, 0, 4, "print", read("prin(x)", 0, 2))
    assert chosen is not None
    assert (chosen.prefix, chosen.suffix) == ("print", "(x)")


@pytest.mark.parametrize(
    ("line", "start", "end", "text"), [(1, 0, 1, "x"), (0, 3, 3, "x"), (0, 0, 2, "a\nb")]
)
def test_a_selection_elsewhere_is_none(line: int, start: int, end: int, text: str) -> None:
    assert selection("", line, start, end, text, read("ab cd\nx", 0, 2)) is None
