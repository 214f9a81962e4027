"""Where a body belongs: below a comment, or in a function that has a signature or docstring but no body.

In a language without a grammar it belongs only below a comment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile
from typing import Literal

from tree_sitter import Node

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.code.lexed_cursor import LexedCursor
from codegen_lsp.lsp.code.syntax import FUNCTIONS, decode, encode, parse

_LONG_LINE = 2000
"""Characters past which a line is not read as a signature, docstring or comment."""
_REGION = 32 * 1024
"""Characters on each side of the cursor that are parsed to find a body's place."""
_MAX_PARENTS = 500
"""Number of nodes around the cursor that are looked at; each takes a walk from the root."""
_BLANK_LINES = re.compile(r"(?:(?:\r\n?|\n)[ \t]+(?=[\r\n]|\Z))*")
_PLACEHOLDERS = frozenset(["pass_statement", "comment", "line_comment", "block_comment"])


@dataclass(frozen=True, slots=True)
class BodyTarget:
    """Where *Write the body* writes. Offsets are characters of the document."""

    kind: Literal["function", "comment"]
    title: str
    """What the code action says: ``Write the body of `add` ``."""
    start: int
    """The new text replaces `document[start:end]`; `start` ends the docstring's, signature's or comment's line."""
    end: int
    indent: str
    """The leading whitespace of the body's lines, as the document writes it."""
    line: int
    """0-based line of the definition or the comment's last line."""
    tail: str = ""
    """What follows the body: a line's end and the closing brace's indentation, where they shared a line."""

    def cursor(self, cursor: Cursor) -> Cursor:
        """Return the cursor moved to the body's first line, as prompt, filters and ranking need it."""
        text = cursor.prefix + cursor.suffix
        before = text[: self.start]
        return replace(
            cursor,
            prefix=before + cursor.newline + self.indent,
            suffix=self.tail + text[self.end :],
            line=lines.normalize(before).count("\n") + 1,
            selected=None,
        )


def body_target(cursor: Cursor) -> BodyTarget | None:
    """Return the comment at the cursor, or the function around it that has a signature or docstring but no body."""
    if lines.is_comment(cursor.line_prefix + cursor.line_suffix, cursor.language):
        return _comment_target(cursor)
    return _function_target(cursor)


def _comment_target(cursor: Cursor) -> BodyTarget | None:
    cursor_line = cursor.line_prefix + cursor.line_suffix
    comment, end, last = [cursor_line.strip()], cursor.offset + len(cursor.line_suffix), cursor.line
    if "*" in cursor_line[
        : len(cursor_line) - len(cursor_line.lstrip()) + 2
    ] and not cursor_line.rstrip().endswith("*/"):
        return None  # the inside of a block comment
    below = len(cursor.line_suffix)
    site = LexedCursor(cursor)
    for line in site.below:
        if not lines.is_comment(line, cursor.language):
            break
        length = (2 if cursor.suffix.startswith("\r\n", below) else 1) + len(line)
        end, below, last = end + length, below + length, last + 1
        comment.append(line.strip())
    above = takewhile(lambda line: lines.is_comment(line, cursor.language), reversed(site.above))
    comment = [*reversed([line.strip() for line in above]), *comment]
    words = " ".join(c.lstrip("#/*- ").removesuffix("*/").strip() for c in comment).strip()
    if not words:
        return None
    title = f"Write the code for “{words[:40].rstrip()}{'…' if len(words) > 40 else ''}”"
    return BodyTarget("comment", title, end, end, lines.leading(cursor_line), last)


def _function_target(cursor: Cursor) -> BodyTarget | None:
    line = cursor.line_prefix + cursor.line_suffix
    if len(line) > _LONG_LINE:
        return None
    text, offset = cursor.prefix + cursor.suffix, cursor.offset
    if line.strip():
        offset = max(offset, offset - len(cursor.line_prefix) + len(lines.leading(line)) + 1)
    else:
        offset -= len(text[max(0, offset - _REGION) : offset]) - len(
            text[max(0, offset - _REGION) : offset].rstrip()
        )
    start = max(0, offset - _REGION)
    start = text.find("\n", start, offset) + 1 or start if start else 0
    region = text[start : offset + _REGION]
    stub = _stub_at(cursor.language, region, len(encode(region[: offset - start])))
    if stub is None:
        return None
    data = encode(region)
    end = start + _length(data[: stub.end])
    definition = start + _length(data[: stub.definition])
    before = lines.normalize(text[:definition])
    outer = lines.leading(before[before.rfind("\n") + 1 :])
    return BodyTarget(
        kind="function",
        title=f"Write the body of `{stub.name}`",
        start=start + _length(data[: stub.start]),
        end=end if stub.closed else _BLANK_LINES.match(text, end).end(),  # type: ignore[union-attr]
        indent=outer + cursor.indent,
        line=before.count("\n"),
        tail=cursor.newline + outer if stub.closed else "",
    )


def _length(data: bytes) -> int:
    return len(data.decode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class _Stub:
    """A function without a body; offsets are bytes."""

    name: str
    definition: int
    start: int
    end: int
    closed: bool
    """Whether a brace follows `end`."""


@lru_cache(maxsize=8)
def _stub_at(language: str, text: str, offset: int) -> _Stub | None:
    """Return the innermost function at a byte, if it is a stub."""
    tree = parse(language, encode(text))
    if tree is None:
        return None
    node = tree.root_node.descendant_for_byte_range(max(0, offset - 1), offset)
    for _ in range(_MAX_PARENTS):
        if node is None or node.type in FUNCTIONS:
            break
        inner = node.child_by_field_name("definition") if node.type == "decorated_definition" else None
        node = inner if inner is not None and inner.type in FUNCTIONS else node.parent
    return _stub(node) if node is not None and node.type in FUNCTIONS else None


def _stub(node: Node) -> _Stub | None:
    """Return the stub that a function's node is, or None if it has a body.

    `int add(int a, int b) { /* Add. */ }` is one: `start` is the end of the comment, `end` the closing brace.
    """
    body = node.child_by_field_name("body")
    if body is None or any(c.is_error for c in node.children):
        return None
    braces = body.child_count > 0 and body.children[0].type == "{"
    opener = body.children[0] if braces else next((c for c in node.children if c.type == ":"), None)
    if opener is None:
        return None
    start = end = opener.end_byte
    specification = True  # docstring and comments, up to the first statement
    comments = [c for c in node.children if c.type == "comment" and c.start_byte >= opener.end_byte]
    for index, child in enumerate([*comments, *body.named_children]):
        docstring = index == len(comments) and _is_string(child)
        if not docstring and not _is_placeholder(child):
            return None
        specification = specification and (docstring or "comment" in child.type)
        start, end = (child.end_byte if specification else start), child.end_byte
    closer = body.children[-1] if braces else None
    closed = closer is not None and closer.type == "}" and not closer.is_missing
    if closed and closer is not None:
        end = closer.start_byte
    return _Stub(_name(node), node.start_byte, start, end, closed)


def _is_string(node: Node) -> bool:
    """Return whether a statement is a string by itself, as docstrings are."""
    return node.type == "expression_statement" and [c.type for c in node.children] == ["string"]


def _is_placeholder(node: Node) -> bool:
    """Return whether a statement is a placeholder for a body: `...`, `pass`, `raise NotImplementedError`."""
    text = decode(node.text or b"")
    if node.type in ("raise_statement", "throw_statement", "expression_statement", "statement_list"):
        words = text.lower().replace(" ", "")
        return words == "..." or (
            words.startswith(("raisenotimplemented", "thrownew", "panic("))
            and ("notimplemented" in words or "unsupported" in words or "todo" in words)
        )
    return node.type in _PLACEHOLDERS


def _name(node: Node) -> str:
    """Return the function's name, looked for where each grammar keeps it."""
    holder: Node | None = node
    while holder is not None:
        if (name := holder.child_by_field_name("name")) is not None:
            return decode(name.text or b"")
        holder = holder.child_by_field_name("declarator")
        if holder is not None and holder.type.endswith("identifier"):
            return decode(holder.text or b"")
    parent = node.parent
    name = parent.child_by_field_name("name") if parent is not None else None
    return decode(name.text or b"") if name is not None else "function"
