"""Convert ranked candidates to LSP items. Pure.

The items are as editors need them: ranges on one line, columns in the negotiated encoding, the document's line endings,
and texts that still match what is typed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lsprotocol import types as lsp

from codegen_lsp.lsp.code.bodies import BodyTarget
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.code.positions import position_at, units
from codegen_lsp.lsp.suggest.values import Ranked

_LABEL = 60
"""Maximum number of characters in a menu entry's label."""
_LONGEST_WORD = 100
_WORD = re.compile(r"\w*\Z")
_TICKS = re.compile(r"`{3,}")
ACCEPTED = "codegen.accepted"


def inline_items(
    ranked: Sequence[Ranked], cursor: Cursor, encoding: str, ids: Sequence[str]
) -> list[lsp.InlineCompletionItem]:
    """Return the items of ghost text, best first. `ids[i]` is the argument of item i's `codegen.accepted` command.

    The range starts at the cursor, or covers what the menu's selected entry replaces, in which case the text
    starts with the entry's.
    """
    line = cursor.line_prefix
    entry, replaced = (
        ("", "") if cursor.selected is None else (cursor.selected.text, cursor.selected.replaced)
    )
    start = units(line[: len(line) - len(entry)], encoding)
    items = []
    for suggestion, identifier in zip(ranked, ids, strict=True):
        covered = replaced + cursor.suffix[: suggestion.candidate.replace]
        text = entry + _in_document(suggestion.candidate.text, cursor)
        items.append(
            lsp.InlineCompletionItem(
                insert_text=text,
                filter_text=text if entry else None,
                range=_on_line(cursor.line, start, start + units(covered, encoding)),
                command=_command(identifier),
            )
        )
    return items


def completion_items(
    ranked: Sequence[Ranked], cursor: Cursor, encoding: str, ids: Sequence[str]
) -> lsp.CompletionList:
    """Return the menu's entries. `data` holds `{"id", "language", "text"}`; `resolve` turns it into documentation.

    The list is always incomplete: otherwise editors keep it and filter it by words without another request.
    """
    line = cursor.line_prefix
    word = _WORD.search(line[-_LONGEST_WORD:]).group()  # type: ignore[union-attr]  # it matches the empty word too
    start, end = units(line[: len(line) - len(word)], encoding), units(line, encoding)
    items = []
    for place, (suggestion, identifier) in enumerate(zip(ranked, ids, strict=True)):
        text = word + suggestion.candidate.text
        covered = units(cursor.suffix[: suggestion.candidate.replace], encoding)
        items.append(
            lsp.CompletionItem(
                label=label(text),
                kind=lsp.CompletionItemKind.Text,
                detail="CodeGen",
                sort_text=f"{place:04d}",
                filter_text=word + suggestion.candidate.text.split("\n", 1)[0] if word else label(text),
                insert_text_format=lsp.InsertTextFormat.PlainText,
                insert_text_mode=lsp.InsertTextMode.AsIs,
                text_edit=lsp.TextEdit(
                    range=_on_line(cursor.line, start, end + covered), new_text=_in_document(text, cursor)
                ),
                command=_command(identifier),
                data={"id": identifier, "language": cursor.language, "text": text},
            )
        )
    return lsp.CompletionList(is_incomplete=True, items=items)


def resolve(item: lsp.CompletionItem) -> lsp.CompletionItem:
    """Return the entry with its code as documentation; an entry of another shape comes back unchanged."""
    data: Any = item.data
    if not isinstance(data, dict) or not isinstance(data.get("text"), str):
        return item
    language = data.get("language")
    fence = max((m.group() for m in _TICKS.finditer(data["text"])), key=len, default="``") + "`"
    name = language if isinstance(language, str) and re.fullmatch(r"[\w+#.-]*", language) else ""
    item.documentation = lsp.MarkupContent(
        kind=lsp.MarkupKind.Markdown, value=f"{fence}{name}\n{data['text']}\n{fence}"
    )
    return item


def body_edit(cursor: Cursor, target: BodyTarget, text: str, encoding: str) -> lsp.WorkspaceEdit:
    """Return the edit that writes a body; it names the document's version where that is known.

    `text` is a candidate's, for `target.cursor(cursor)`: its first line starts at the body's indentation.
    """
    document = cursor.prefix + cursor.suffix
    start, end = (
        lsp.Position(*position_at(document, offset, encoding)) for offset in (target.start, target.end)
    )
    new_text = cursor.newline + target.indent + _in_document(text, cursor) + target.tail
    edit = lsp.TextEdit(range=lsp.Range(start, end), new_text=new_text)
    if cursor.version is None:
        return lsp.WorkspaceEdit(changes={cursor.uri: [edit]})
    identifier = lsp.OptionalVersionedTextDocumentIdentifier(uri=cursor.uri, version=cursor.version)
    return lsp.WorkspaceEdit(document_changes=[lsp.TextDocumentEdit(text_document=identifier, edits=[edit])])


def label(text: str) -> str:
    """Return a short line for a menu: the first that isn't blank, `…` if it was cut, `⏎` if lines follow."""
    content = text.strip()
    first, newline, _ = content.partition("\n")
    first = re.sub(r"\s+", " ", first)
    room = _LABEL - 2 if newline else _LABEL
    short = first if len(first) <= room else first[: room - 1].rstrip() + "…"
    return f"{short} ⏎" if newline else short


def _in_document(text: str, cursor: Cursor) -> str:
    return text if cursor.newline == "\n" else text.replace("\n", cursor.newline)


def _on_line(line: int, start: int, end: int) -> lsp.Range:
    return lsp.Range(lsp.Position(line, start), lsp.Position(line, end))


def _command(identifier: str) -> lsp.Command:
    return lsp.Command(title="Suggestion accepted", command=ACCEPTED, arguments=[identifier])
