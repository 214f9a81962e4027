"""How far a continuation goes: the line, or the block that its place asks for.

Knows brackets, quotes and indentation, read in one pass; no parser, since the text is still being written.
What is said of a text holds for every longer one, which is what lets the reader of a stream stop early.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.cursor import Cursor, Shape

_STRINGS = r"""\"(?:\\.|[^\"\\\n])*(?:"|\\?\Z)|'(?:\\.|[^'\\\n])*(?:'|\\?\Z)"""
"""Strings of one line. One that the text ends in counts too: what it holds is not code, whatever follows."""
_PYTHON = re.compile(
    rf"""(?P<triple>\"{{3}}|'{{3}})(?:\\.|.)*?(?:(?P=triple)|\Z)|{_STRINGS}|\#[^\n]*|[()\[\]{{}}\n]""",
    re.DOTALL,
)
_OTHERS = re.compile(
    rf"""/\*.*?(?:\*/|\Z)|//[^\n]*|{_STRINGS}|`(?:\\.|[^`\\])*(?:`|\\?\Z)|[()\[\]{{}}\n]""", re.DOTALL
)
_CONTINUES = ("else", "catch", "finally", "while")
"""Words that go on with a statement after its closing brace."""
_DEFINES = re.compile(r"(?:async def|def|class)\b")
_WORD = re.compile(r"\w+")


def open_brackets(text: str, language: str, kinds: str = "([{") -> list[str]:
    """The brackets that a text opens and doesn't close, outermost first."""
    return _unmatched(text, language, kinds)[0]


def unopened(text: str, cursor: Cursor) -> int | None:
    """Where a Python text closes a bracket that isn't the innermost open one; None if it does so nowhere."""
    if cursor.language != "python" or not any(closer in text for closer in lines.PAIRS):
        return None
    start = len(cursor.prefix)
    closers = _unmatched(cursor.prefix + text, cursor.language)[1]
    return next((at - start for at in closers if at >= start), None)


def _unmatched(text: str, language: str, kinds: str = "([{") -> tuple[list[str], list[int]]:
    """(the brackets that are not closed, outermost first; where those stand that close nothing)."""
    opened: list[str] = []
    closers: list[int] = []
    for match in (_PYTHON if language == "python" else _OTHERS).finditer(text):
        token = match.group()
        if token in kinds:
            opened.append(token)
        elif opened and lines.PAIRS.get(token) == opened[-1]:
            opened.pop()
        elif token in lines.PAIRS:
            closers.append(match.start())
    return opened, closers


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a block is to be written."""

    base: int
    """Columns of the cursor's line."""
    floor: int
    """Columns that a line of the block has at least."""
    opened: bool
    """Whether a line above, or the cursor's own, opened the block."""
    expected: int
    """Columns that the block's first line should have."""
    opener: int
    """Columns of the line that opened the block, else `base`."""


def place(cursor: Cursor) -> BlockPlace:
    """What the lines around the cursor say of the block at it."""
    unit = lines.unit(cursor.indent)
    base = lines.width(cursor.line_prefix, cursor.indent)
    blank = not cursor.line_prefix.strip()
    line = cursor.line_prefix
    if blank:
        line = next((ln for ln in reversed(lines.above(cursor)) if ln.strip()), "")
    outer = lines.width(line, cursor.indent)
    if lines.opens_block(line, cursor.language) or (blank and line.rstrip().endswith(("(", "[", "{"))):
        floor = base if blank and lines.uses_braces(cursor.language) else outer + 1
        return BlockPlace(base, floor, True, outer + unit, outer)
    if lines.closes_docstring(line) and 0 < outer >= base:
        return BlockPlace(base, outer, True, outer, max(0, outer - unit))
    return BlockPlace(base, base, False, max(outer, base), base)


def end(text: str, cursor: Cursor, shape: Shape, *, body: bool = False) -> int | None:
    """Where what is wanted of a continuation ends; None where it may go on past the text."""
    if shape == "line":
        start = 0 if cursor.line_prefix else len(text) - len(text.lstrip("\n"))
        found = text.find("\n", start)  # at a line's start, blank lines may come first
        return found if found >= 0 else None
    if lines.uses_braces(cursor.language):
        return _brace_end(text, cursor, body)
    return _dedent_end(text, cursor, body)


def _dedent_end(text: str, cursor: Cursor, body: bool) -> int | None:
    """The end of the last line before the code leaves its block, or before the next paragraph."""
    here = place(cursor)
    definitions = 0
    for line in _read(text, cursor.language):
        defines = _DEFINES.match(line.text.lstrip()) is not None
        if line.previous:
            width = lines.width(line.text, cursor.indent)
            if width < here.floor:
                return line.previous
            if (
                not here.opened
                and width <= here.base
                and _next_paragraph(line, body, defines and definitions)
            ):
                return line.previous
        definitions += defines
    return None


def _next_paragraph(line: _Line, body: bool, another: bool | int) -> bool:
    """Whether something new starts at a line that is indented like the block's first."""
    if not body:
        return line.gap > 0
    comment = line.text.lstrip().startswith(("#", "//"))
    return (line.gap > 0 and comment) or bool(another)


def _brace_end(text: str, cursor: Cursor, body: bool) -> int | None:
    """The end of the line before the brace that closes what the document opened, or of that brace."""
    here = place(cursor)
    brace = None
    for line in _read(text, cursor.language):
        width = lines.width(line.text, cursor.indent)
        if line.previous and not here.opened and width <= here.base:
            closed = here.base == 0 and text[: line.previous].endswith("}")
            if _next_paragraph(line, body, False) or (closed and not _goes_on(line.text.lstrip())):
                return line.previous
        brace = line.unbalanced
    if brace is None:
        return None
    if cursor.line_suffix.lstrip().startswith("}"):  # closed by the editor, on this line: left to `overlap`
        rest = cursor.line_suffix.strip()
        same = 0
        while text[brace + same : brace + same + 1] == rest[same : same + 1] != "":
            same += 1
        return brace + same
    if here.opened and not _closed_below(cursor, here):
        return brace + 1
    return len(text[:brace].rstrip())


def complete_part(text: str, language: str) -> str:
    """The text without a last Python statement whose brackets are open still; all of it where that is all."""
    if language != "python" or not open_brackets(text, language):
        return text
    *_, last = _read(text, language)
    return text[: last.previous] or text


def misplaced(text: str, cursor: Cursor) -> int | None:
    """Where a Python text ends before the first line whose indentation no line above it explains; None without one.

    That is a line deeper than one that opens nothing, or not deeper than one that opens a block.
    """
    if cursor.language != "python":
        return None
    levels: list[int] = []
    above = ""
    for line in _read(cursor.line_prefix + text, "python"):
        if levels and lines.is_comment(line.text, "python"):
            continue
        width = lines.width(line.text, cursor.indent)
        opened = lines.opens_block(above.replace("\n", " "), "python")
        if levels and not above.endswith("\\"):
            explained = width > levels[-1] if opened else width <= levels[-1]
            while levels and width < levels[-1]:
                levels.pop()
            if not explained or (levels and not opened and width != levels[-1]):
                inside = bool(
                    open_brackets(cursor.prefix, "python")
                )  # there each line is as deep as it likes
                return None if inside else line.previous - len(cursor.line_prefix)
        if not levels or width > levels[-1]:
            levels.append(width)
        above = line.text
    return None


def _goes_on(following: str) -> bool:
    """Whether a line continues the statement whose brace was closed above it, as far as can be seen yet."""
    word = _WORD.match(following)
    if word is None:
        return following[:1] in (")", "]", "}", ";", ",", "")
    return any(w.startswith(word.group()) for w in _CONTINUES)


@dataclass(slots=True)
class _Line:
    """A line with something on it that starts outside of brackets and strings."""

    text: str
    previous: int
    """Where the text before it ends, without trailing whitespace."""
    gap: int
    """Blank lines before it."""
    unbalanced: int | None = None
    """Where the first brace is that closes one that the text didn't open; the text isn't read past it."""


def _read(text: str, language: str) -> Iterator[_Line]:
    """The lines of a text, one at a time."""
    starts, depth, unbalanced = [0], 0, None
    for match in (_PYTHON if language == "python" else _OTHERS).finditer(text):
        token = match.group()
        if token in ("(", "[", "{"):
            depth += 1
        elif token in (")", "]", "}"):
            depth -= 1
            if depth < 0:
                depth = 0
                if token == "}" and language != "python":
                    unbalanced = match.start()
                    break
        elif token == "\n" and depth == 0:
            starts.append(match.end())
    previous = gap = 0
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        content = text[start:end].rstrip()
        if content and (unbalanced is None or start <= unbalanced):
            last = unbalanced is not None and unbalanced < end
            yield _Line(content, previous, gap, unbalanced if last else None)
            previous, gap = start + len(content), 0
        else:
            gap += 1


def _closed_below(cursor: Cursor, here: BlockPlace) -> bool:
    """Whether the document already closes the brace that opened the block."""
    following = next((ln for ln in lines.below(cursor) if ln.strip()), "")
    return following.lstrip().startswith("}") and lines.width(following, cursor.indent) == here.opener
