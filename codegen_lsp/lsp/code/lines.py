"""Single lines and their white space: line endings, columns, levels of indentation."""

from __future__ import annotations

import re
from functools import lru_cache

from codegen_lsp.lsp.code.languages import Language, language

LONG_LINE = 2000
"""Characters past which a line is data or minified, and is looked at only near the cursor."""
CLOSERS = ")]}"
_GOES_ON = ("&&", "||", ",", "\\", ".", "+")
"""Endings of a line that is continued on the next line, so that it opens no block."""
_TABS = re.compile(r"(?:^|(?<=\r)) *\t[ \t]*", re.MULTILINE)


def normalize(text: str) -> str:
    """Return the text with `\\n` line endings, as models read it."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def leading(line: str) -> str:
    """Return the white space that a line starts with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def width(line: str, indent: str) -> int:
    """Return how far a line is indented, in columns; a tab goes to the next multiple of a level's width."""
    white = leading(line)
    return len(white.expandtabs(max(unit(indent), 1))) if "\t" in white else len(white)


def columns(line: str) -> int:
    """Return how far a line is indented, in columns; a tab goes to the next multiple of 8, as Python reads it."""
    return len(leading(line).expandtabs(8))


def unit(indent: str) -> int:
    """Return the columns of one level of indentation."""
    return len(indent) if indent.strip("\t") else 4


def with_spaces(text: str) -> str:
    """Return the text with spaces for the tabs that indent its lines, four columns each."""
    return _TABS.sub(lambda match: match[0].expandtabs(4), text)


def is_comment(line: str, name: str) -> bool:
    """Return whether a line holds nothing but a comment, or a part of one."""
    return language(name).is_comment(line)


def opens_block(line: str, name: str, *, brackets: bool = True) -> bool:
    """Return whether a line's end opens a block: `def f():`, `for (...) {`, `if x then`.

    Without `brackets`, only what opens a block by other means counts: `if x then`, `case 1:`.
    """
    spec = language(name)
    if len(line) > LONG_LINE:
        return brackets and line.endswith("{")
    if _without_comment(line, spec).rstrip().endswith(_GOES_ON):
        return False
    pattern = _opener_pattern(name, brackets)
    return pattern is not None and pattern.fullmatch(line) is not None and not spec.is_comment(line)


def _without_comment(line: str, spec: Language) -> str:
    """Return a line up to the last mark of a line comment that comes after white space."""
    starts = [line.rfind(f" {mark}") for mark in spec.line_comments]
    start = max(starts, default=-1)
    return line[:start] if start >= 0 else line


def is_label(line: str, name: str) -> bool:
    """Return whether a line starts a section of a block: `case 1:`, `public:`."""
    label = language(name).label
    return bool(label) and len(line) <= LONG_LINE and re.fullmatch(label, line) is not None


def closes_docstring(line: str) -> bool:
    """Return whether a line ends with the quotes that end a docstring."""
    return line.rstrip().endswith(('"""', "'''"))


@lru_cache(maxsize=64)
def _opener_pattern(name: str, brackets: bool) -> re.Pattern[str] | None:
    spec = language(name)
    openers = [opener for opener in (spec.opener, spec.label) if opener]
    if brackets and spec.blocks != "indentation":
        marks = (*spec.line_comments, *(opener for opener, _ in spec.block_comments))
        comment = "|".join(map(re.escape, marks))
        openers.append(rf".*\{{(?:\s*(?:{comment}).*)?\s*" if comment else r".*\{\s*")
    return re.compile("|".join(f"(?:{opener})" for opener in openers)) if openers else None
