"""The Python statements around an empty line, for hints and line checks. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.code.statements import Statement, names_in, read

REACH = 16 * 1024
"""Characters on each side of the cursor that statements are read from."""
HEAD = re.compile(r"(?:async\s+def|def|class)\b|@")
_MARGIN_HEAD = re.compile(r"\n(?:async def|def|class|@)")
_BELOW = 60
"""Statements below the cursor that are looked at."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The statements around an empty line."""

    above: tuple[Statement, ...]
    """From the start of the outermost definition, or of the file, to the cursor."""
    below: tuple[Statement, ...]
    """To the end of the function that the cursor is in, or of the file."""
    following: Statement | None
    """The next statement below, in the same function or not."""
    levels: tuple[Statement, ...]
    """The last statement of each block that is open above, outermost first."""

    @property
    def previous(self) -> Statement | None:
        """The statement above."""
        return self.above[-1] if self.above else None

    def names_above(self) -> set[str]:
        """Return the names that are used or bound above."""
        return set().union(*map(names_in, self.above))

    def scope(self, line_prefix: str) -> int | None:
        """Return the columns of the head of the innermost function that the cursor's line can be in, if any."""
        return _scope(self.levels, line_prefix)


def surroundings(cursor: Cursor, lines_below: Sequence[str]) -> Surroundings | None:
    """Return the statements around the cursor's line.

    None in a string, in brackets, or where no code starts within reach.
    """
    before = _definition_above(cursor.prefix, len(cursor.prefix) - len(cursor.line_prefix))
    if before is None:
        return None
    code, code_below = read(before), read("\n".join(lines_below))
    above, below = code.statements, code_below.statements
    if code.ends_within or code.closes or code_below.closes or not above:
        return None  # the line is within an expression, or opens one
    levels = _levels(above)
    floor = _scope(levels, cursor.line_prefix)
    end = next((n for n, s in enumerate(below) if floor is not None and s.indent <= floor), len(below))
    return Surroundings(above, below[: min(end, _BELOW)], below[0] if below else None, levels)


def visible(cursor: Cursor) -> str:
    """Return the text in which names are looked up: the document, or the start and cursor region of a long one."""
    return _visible(cursor.prefix, cursor.suffix)


def visible_elsewhere(cursor: Cursor) -> str:
    """Return the same without the cursor's line: it doesn't change while that is typed."""
    end = len(cursor.prefix) - len(cursor.line_prefix)
    return _visible(cursor.prefix[:end], cursor.suffix[len(cursor.line_suffix) :])


def _visible(before: str, after: str) -> str:
    after = after[: 4 * REACH]
    if len(before) > 8 * REACH:
        before = f"{before[: 2 * REACH]}\n{before[-4 * REACH :]}"
    return lines.normalize(before + after)


def _definition_above(prefix: str, end: int) -> str | None:
    """Return the text above from the last definition at the margin on, with its decorators.

    All of the text where there is no such definition; None where that is too long.
    """
    start = max(0, end - REACH)
    text = lines.normalize(prefix[start:end])
    heads = [match.start() + 1 for match in _MARGIN_HEAD.finditer(text)]
    if not heads:
        return None if start else text.removeprefix("\ufeff")
    first = heads.pop()
    while heads and text.startswith("@", heads[-1]) and text.find("\n", heads[-1]) + 1 == first:
        first = heads.pop()
    return text[first:]


def _levels(above: Sequence[Statement]) -> tuple[Statement, ...]:
    """Return the last statement of each block that is open at the end."""
    stack: list[tuple[int, Statement]] = []
    for statement in above:
        indent = statement.indent
        while stack and stack[-1][0] >= indent:
            stack.pop()
        stack.append((indent, statement))
    return tuple(statement for _, statement in stack)


def _scope(levels: Sequence[Statement], line_prefix: str) -> int | None:
    limit = lines.columns(line_prefix) if line_prefix.strip() else None
    heads = [s for s in levels if HEAD.match(s.code) and not s.code.startswith("@")]
    if limit is not None:
        heads = [s for s in heads if s.indent < limit]
    return heads[-1].indent if heads else None
