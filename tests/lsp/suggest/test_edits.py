"""LSP items: ranges, columns, line endings, labels, and what editors filter by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import converters
from lsprotocol import types as lsp
from support.golden import cursor

from codegen_lsp.lsp.code import cursor as cursors
from codegen_lsp.lsp.code import positions
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.suggest import edits
from codegen_lsp.lsp.suggest.values import Candidate, Ranked

ENCODINGS = ["utf-8", "utf-16", "utf-32"]


def ranked(*texts: str, covers: int = 0) -> list[Ranked]:
    return [Ranked(Candidate(text=t, replace=covers), -float(i)) for i, t in enumerate(texts)]


def inline(at: Cursor, text: str, covers: int = 0, encoding: str = "utf-16") -> lsp.InlineCompletionItem:
    (item,) = edits.inline_items(ranked(text, covers=covers), at, encoding, ["id-1"])
    return item


def span(range_: lsp.Range | None) -> tuple[int, int, int]:
    assert range_ is not None
    assert range_.start.line == range_.end.line
    return range_.start.line, range_.start.character, range_.end.character


def test_ghost_text_is_inserted_at_the_cursor() -> None:
    item = inline(cursor("a\nx = ‸\n"), "foo(1)")
    assert (item.insert_text, span(item.range)) == ("foo(1)", (1, 4, 4))
    assert item.command == lsp.Command("Suggestion accepted", "codegen.accepted", arguments=["id-1"])


@pytest.mark.parametrize(("encoding", "start"), [("utf-8", 8), ("utf-16", 6), ("utf-32", 5)])
def test_columns_are_in_the_negotiated_encoding(encoding: str, start: int) -> None:
    assert span(inline(cursor('s="😋"‸)'), "x", 1, encoding).range) == (0, start, start + 1)


def test_the_text_after_the_cursor_is_covered_on_demand() -> None:
    assert span(inline(cursor("f(‸)"), "a) + 1", 1).range) == (0, 2, 3)


def test_line_endings_are_the_document_s() -> None:
    assert inline(cursor("a\r\nb‸"), "\n  x\n  y").insert_text == "\r\n  x\r\n  y"
    assert inline(cursor("a\rb‸"), "\nx").insert_text == "\rx"


def test_a_selected_entry_is_part_of_the_text() -> None:
    at = cursors.select(
        cursor("x = pri‸\n"), "print", lsp.Range(lsp.Position(0, 4), lsp.Position(0, 7)), "utf-16"
    )
    assert at is not None
    item = inline(at, "(x)")
    assert (item.insert_text, item.filter_text, span(item.range)) == ("print(x)", "print(x)", (0, 4, 7))


def test_a_selected_entry_that_takes_the_rest_of_a_word() -> None:
    at = cursors.select(
        cursor("pr‸in()"), "print", lsp.Range(lsp.Position(0, 0), lsp.Position(0, 4)), "utf-16"
    )
    assert at is not None
    assert span(inline(at, "(x)", 2).range) == (0, 0, 6)


def test_menu_entries_are_over_the_word_being_typed() -> None:
    found = edits.completion_items(
        ranked("nt(x)", "nted = 1\ny = 2"), cursor("z = pri‸"), "utf-16", ["a", "b"]
    )
    assert found.is_incomplete
    first, second = found.items
    assert isinstance(first.text_edit, lsp.TextEdit)
    assert (first.label, first.text_edit.new_text, span(first.text_edit.range)) == (
        "print(x)",
        "print(x)",
        (0, 4, 7),
    )
    assert first.filter_text == "print(x)"
    assert second.label == "printed = 1 ⏎"
    assert isinstance(second.text_edit, lsp.TextEdit)
    assert second.text_edit.new_text == "printed = 1\ny = 2"
    assert second.filter_text == "printed = 1"
    assert first.sort_text is not None
    assert second.sort_text is not None
    assert first.sort_text < second.sort_text
    assert first.insert_text_format == lsp.InsertTextFormat.PlainText
    assert first.command is not None
    assert first.command.arguments == ["a"]


def test_menu_entries_keep_their_order_past_ten() -> None:
    many = edits.completion_items(ranked(*(f"a{i}" for i in range(16))), cursor("‸"), "utf-16", ["x"] * 16)
    keys = [item.sort_text or "" for item in many.items]
    assert keys == sorted(keys)
    assert len(set(keys)) == 16


def test_a_menu_entry_without_a_word_has_something_to_filter_by() -> None:
    (item,) = edits.completion_items(ranked("\n    return 1"), cursor("def f():‸"), "utf-16", ["a"]).items
    assert (item.label, item.filter_text) == ("return 1", "return 1")


def test_a_word_of_other_letters() -> None:
    (item,) = edits.completion_items(ranked("ße"), cursor("x = größ‸"), "utf-16", ["a"]).items
    assert isinstance(item.text_edit, lsp.TextEdit)
    assert (item.text_edit.new_text, span(item.text_edit.range)) == ("größße", (0, 4, 8))


def test_labels_are_short_lines() -> None:
    assert edits.label("x") == "x"
    assert edits.label("a" * 200) == "a" * 59 + "…"
    assert edits.label("a" * 200 + "\nb") == "a" * 57 + "… ⏎"
    assert edits.label("  \n\tif x:\n\t\ty\n") == "if x: ⏎"
    assert edits.label("a\t =  1") == "a = 1"


def test_the_code_is_in_the_documentation_once_resolved() -> None:
    (item,) = edits.completion_items(ranked(" 1\ny = 2"), cursor("x =‸"), "utf-16", ["a"]).items
    assert item.documentation is None
    sent = converters.get_converter().unstructure(item)
    back = converters.get_converter().structure(sent, lsp.CompletionItem)
    documentation = edits.resolve(back).documentation
    assert documentation == lsp.MarkupContent(lsp.MarkupKind.Markdown, "```python\n 1\ny = 2\n```")


def test_backticks_in_the_code_don_t_end_its_fence() -> None:
    (item,) = edits.completion_items(ranked("```\nx\n````"), cursor("‸"), "utf-16", ["a"]).items
    documentation = edits.resolve(item).documentation
    assert isinstance(documentation, lsp.MarkupContent)
    assert documentation.value == "`````python\n```\nx\n````\n`````"


@pytest.mark.parametrize("data", [None, 3, "x", {}, {"text": 3}, {"text": "x", "language": ["a"]}])
def test_entries_of_other_shapes_are_left_as_they_are(data: object) -> None:
    item = edits.resolve(lsp.CompletionItem(label="x", data=data))
    assert item.label == "x"


TEXT = st.lists(st.sampled_from(["a", "é", "😋", "\t", " ", "\n", "\r\n", "(", ")", "x y"]), max_size=20).map(
    "".join
)


@given(TEXT, TEXT, st.text("ab\n 😋", min_size=1, max_size=10), st.integers(0, 3), st.sampled_from(ENCODINGS))
def test_an_edit_leaves_everything_else_alone(
    before: str, after: str, text: str, covers: int, encoding: str
) -> None:
    at = cursors.at_offset(before + after, len(before), uri="file:///a")
    covers = min(covers, len(at.line_suffix))
    document = at.prefix + at.suffix
    (entry,) = edits.completion_items(ranked(text, covers=covers), at, encoding, ["a"]).items
    assert isinstance(entry.text_edit, lsp.TextEdit)
    item = inline(at, text, covers, encoding)
    expected = at.prefix + text.replace("\n", at.newline) + at.suffix[covers:]
    for range_, new in [(item.range, item.insert_text), (entry.text_edit.range, entry.text_edit.new_text)]:
        assert range_ is not None
        start, end = (
            positions.offset_at(document, p.line, p.character, encoding)[0]
            for p in (range_.start, range_.end)
        )
        assert document[:start] + str(new) + document[end:] == expected
