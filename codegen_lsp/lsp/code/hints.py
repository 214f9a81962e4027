"""What the code around an empty line says about the line that is missing. Pure.

A model that reads left to right doesn't see the code below the cursor. Some of what that code says is not a matter of
likelihood: a name that is used below and bound nowhere must be bound around; where the next line is deeper than any
open block, this one opens it; below a `return` the block is over. Knows Python, from its statements; says nothing
where it isn't sure, and nothing of other languages.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.code.statements import Statement
from codegen_lsp.lsp.code.surroundings import HEAD, REACH, Surroundings, visible

_STARS = re.compile(r"^\s*from\s[^\n]*import\s*\*", re.MULTILINE)
_TIGHT = re.compile(r"\w+=[^=]")
_LOOSE = re.compile(r"\w+ = ")
_LEADING = re.compile(r"[ \t]*")
_IMPORTS = re.compile(r"(?:import|from)\b")
_IMPORTED = re.compile(r"(?:[ \t]+as[ \t]+\w+)?,[ \t]*(?:#[^\n]*)?(?=\n|\Z)")
"""What follows a name in a line of an import in brackets."""
_ASSIGNED = re.compile(r"[ \t]*[:=]")
_AT_MARGIN = re.compile(r"^[^\s#)\]}\"']", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Hint:
    """What is certain about the missing line."""

    leading: str | None = None
    """The white space that it starts with; None where more than one is possible."""
    opens: bool = False
    """It must open a block."""
    names: tuple[str, ...] = ()
    """Names that it should bind, in the order in which they are used below."""
    start: str = ""
    """The text that it starts with after that white space; empty if uncertain."""


def hint(site: Site) -> Hint | None:
    """Return what is certain about the cursor's line; None if nothing is, or if the line holds more than a word."""
    typed = site.before.lstrip(" \t")
    around = site.statements
    if around is None or site.after.strip() or (typed and not typed.isidentifier()):
        return None
    options = list(_options(around, site))
    leadings = {leading for leading, _ in options}
    opens = bool(options) and all(opener for _, opener in options)
    names = missing(around, site.cursor)
    settled = opens or not any(opener for _, opener in options)
    return Hint(
        leading=leadings.pop() if len(leadings) == 1 else None,
        opens=opens,
        names=names,
        start=_start(names, around, opens) if names and settled else "",
    )


def opening(site: Site) -> str:
    """Return the text that has to follow the cursor for its line to start as the hint says; empty without a hint."""
    line = hint(site)
    if line is None:
        return ""
    white = lines.leading(site.before)
    word = site.before[len(white) :]
    if word:
        return line.start[len(word) :] if line.start.startswith(word) else ""
    if line.leading is not None and line.leading.startswith(white):
        return line.leading[len(white) :] + line.start
    return line.start if white else ""


def _start(names: Sequence[str], around: Surroundings, opens: bool) -> str:
    """Return how a line that binds these names starts.

    For `total`, used in `print(total)` below, it is `total =`. If the line opens a block and `f` is used below
    that block, it is `def f(`.
    """
    if opens:
        inside = {n for s in _block(around.below) for n in s.needs()}
        outside = next((n for n in names if n not in inside), "")
        return f"def {outside}(" if outside else "for"
    if len(names) > 1 or _use(names[0], around.below) == "(":
        return ""  # the order is unknown; and a name that is called is imported or defined in another place
    if _use(names[0], around.below) == "." and names[0] in sys.stdlib_module_names:
        return "import"
    tight = sum(
        bool(_TIGHT.match(s.code)) - bool(_LOOSE.match(s.code)) for s in (*around.above, *around.below)
    )
    return names[0] + ("=" if tight > 0 else " =")


def _options(around: Surroundings, site: Site) -> Iterator[tuple[str, bool]]:
    """Yield each indentation that the line may have, and whether it then has to open a block.

    if x:
    ‸
        y = 1        the line is in the body of `if x:`, as `y = 1` is: ("    ", False) only
    """
    previous, following = around.previous, around.following
    if previous is None:
        return
    floor = around.scope(site.before)
    last = following.indent if following is not None else 0
    levels = [s.leading for s in around.levels]
    if previous.opens:
        deeper = previous.leading + site.cursor.indent
        if following is not None and previous.indent < last < len(deeper.expandtabs(8)) + 2:
            deeper = following.leading
        levels = [deeper]
    elif previous.ends:
        levels.pop()
    for leading in levels:
        width = len(leading.expandtabs(8))
        if floor is not None and width <= floor and around.below:
            continue
        if last > width:
            if last <= width + max(len(site.cursor.indent.expandtabs(8)), 1) + 1:
                yield leading, True
        elif following is not None and following.continues and width == last:
            continue
        else:
            yield leading, False


def _block(below: Sequence[Statement]) -> Iterator[Statement]:
    """Yield the statements of the block that the missing line opens."""
    for statement in below:
        if statement.indent < below[0].indent:
            return
        yield statement


def missing(around: Surroundings, cursor: Cursor) -> tuple[str, ...]:
    """Return the names that are used below and bound nowhere, in order of use."""
    bound = around.names_above()
    unbound: list[str] = []
    for statement in around.below:
        unbound += dict.fromkeys(n for n in statement.needs() if n not in bound and n not in unbound)
        bound |= statement.binds()
        if statement.word in ("import", "from") and "*" in statement.code:
            return ()
    starred = cursor.foreign.starred
    if not unbound or (starred is None and (_STARS.search(cursor.prefix) or _STARS.search(cursor.suffix))):
        return ()
    text = visible(cursor)
    unbound = [n for n in unbound if starred is None or n not in starred]
    return tuple(n for n in unbound if not n.isupper() and not is_global(n, text))


def is_global(name: str, text: str) -> bool:
    """Return whether a name occurs at the file's margin, in an import, or in a block that isn't a definition's."""
    return any(_is_global_at(start, start + len(name), text) for start in _places(name, text))


def _is_global_at(start: int, end: int, text: str) -> bool:
    """Return whether the word from `start` to `end` makes its name a global one."""
    line = text.rfind("\n", 0, start) + 1
    if text[line] not in " \t":
        return text[line] not in "#\r\f\v"
    leading = _LEADING.match(text, line)
    assert leading is not None
    if leading.end() < start:
        return _IMPORTS.match(text, leading.end()) is not None
    if _IMPORTED.match(text, end):
        return True  # a line of an import in brackets
    if not _ASSIGNED.match(text, end):
        return False
    above = text[max(0, line - REACH) : line]
    heads = list(_AT_MARGIN.finditer(above))
    return bool(heads) and not HEAD.match(above, heads[-1].start())


def _places(name: str, text: str) -> Iterator[int]:
    """Yield where a name stands as a whole word."""
    start = text.find(name)
    while start >= 0:
        around = text[start - 1 : start] + text[start + len(name) : start + len(name) + 1]
        if not any(character.isalnum() or character == "_" for character in around):
            yield start
        start = text.find(name, start + len(name))


def _use(name: str, below: Sequence[Statement]) -> str:
    """Return the character that follows the first use of a name."""
    word = re.compile(rf"(?<![\w.]){re.escape(name)}\b\s*(.?)")
    return next((m.group(1) for s in below if (m := word.search(s.code))), "")
