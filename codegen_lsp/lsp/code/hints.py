"""What the code around an empty line says of the line that is missing there. Pure.

A model that reads left to right doesn't see the code below the cursor. Some of what that code says is no matter of
likelihood: a name that is used below and bound nowhere must be bound here; where the next line is deeper than any
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
from codegen_lsp.lsp.code.statements import Statement, read

_HEAD = re.compile(r"(?:async\s+def|def|class)\b|@")
_STARS = re.compile(r"^\s*from\s[^\n]*import\s*\*", re.MULTILINE)
_REACH = 16 * 1024
_TIGHT = re.compile(r"\w+=[^=]")
_LOOSE = re.compile(r"\w+ = ")
_BELOW = 60
"""Statements below the cursor that are looked at."""


@dataclass(frozen=True, slots=True)
class HintPlace:
    """The statements around an empty line."""

    above: tuple[Statement, ...]
    """From the start of the outermost definition, or of the file, to the cursor."""
    below: tuple[Statement, ...]
    """To the end of the function that the cursor is in, or of the file."""
    following: Statement | None
    """The next one, wherever it belongs."""
    levels: tuple[Statement, ...]
    """The last statement of each block that is open above, outermost first."""

    @property
    def previous(self) -> Statement | None:
        """The statement above."""
        return self.above[-1] if self.above else None


@dataclass(frozen=True, slots=True)
class Hint:
    """What is known of the missing line."""

    leading: str | None = None
    """The white space that it starts with; None where more than one is possible."""
    opens: bool = False
    """It must open a block."""
    names: tuple[str, ...] = ()
    """Names that it should bind, in the order in which they are used below."""
    start: str = ""
    """The text that it starts with after that white space, as far as it is known."""


def hint(cursor: Cursor) -> Hint | None:
    """What is known of the cursor's line; None where nothing is, or where the line holds more than a word."""
    typed = cursor.line_prefix.lstrip(" \t")
    if cursor.language != "python" or cursor.line_suffix.strip() or (typed and not typed.isidentifier()):
        return None
    here = place(cursor)
    if here is None:
        return None
    options = list(_options(here, cursor))
    leadings = {leading for leading, _ in options}
    opens = bool(options) and all(opener for _, opener in options)
    names = missing(here, cursor)
    settled = opens or not any(opener for _, opener in options)
    return Hint(
        leading=leadings.pop() if len(leadings) == 1 else None,
        opens=opens,
        names=names,
        start=_start(names, here, opens) if names and settled else "",
    )


def opening(cursor: Cursor) -> str:
    """What has to follow at the cursor for its line to start as is known; nothing where nothing is."""
    known = hint(cursor)
    if known is None:
        return ""
    white = lines.leading(cursor.line_prefix)
    word = cursor.line_prefix[len(white) :]
    if word:
        return known.start[len(word) :] if known.start.startswith(word) else ""
    if known.leading is not None and known.leading.startswith(white):
        return known.leading[len(white) :] + known.start
    return known.start if white else ""


def _start(names: Sequence[str], here: HintPlace, opens: bool) -> str:
    """How a line starts that binds these names."""
    if opens:
        inside = {n for s in _block(here.below) for n in s.needs()}
        outside = next((n for n in names if n not in inside), "")
        return f"def {outside}(" if outside else "for"
    if len(names) > 1 or _use(names[0], here.below) == "(":
        return ""  # which one comes first can't be known; and what is called is imported or defined elsewhere
    if _use(names[0], here.below) == "." and names[0] in sys.stdlib_module_names:
        return "import"
    tight = sum(bool(_TIGHT.match(s.code)) - bool(_LOOSE.match(s.code)) for s in (*here.above, *here.below))
    return names[0] + ("=" if tight > 0 else " =")


def place(cursor: Cursor) -> HintPlace | None:
    """The statements around the cursor's line; None in a string, in brackets, or far from where code starts."""
    before = _region(cursor.prefix, len(cursor.prefix) - len(cursor.line_prefix))
    if before is None:
        return None
    code, rest = read(before), read("\n".join(lines.below(cursor)))
    above, below = code.statements, rest.statements
    if code.ends_within or code.closes or rest.closes or not above:
        return None  # the line is within an expression, or opens one
    floor = _scope(above, cursor)
    end = next((n for n, s in enumerate(below) if floor is not None and s.indent <= floor), len(below))
    following = below[0] if below else None
    return HintPlace(above, below[: min(end, _BELOW)], following, tuple(_levels(above)))


def _region(prefix: str, end: int) -> str | None:
    """The text above from the last definition at the margin on, or all of it; None where that is too long."""
    start = max(0, end - _REACH)
    text = lines.normalize(prefix[start:end])
    heads = [m.start() + 1 for m in re.finditer(r"\n(?:async def|def|class|@)", text)]
    if heads:
        at = heads[-1]
        while at in heads and text[:at].rstrip("\n").rpartition("\n")[2].startswith("@"):
            at = text.rfind("\n", 0, at - 1) + 1
        return text[at:]
    return None if start else text.removeprefix("\ufeff")


def _levels(above: Sequence[Statement]) -> list[Statement]:
    """The last statement of each block that is open at the end."""
    stack: list[Statement] = []
    for statement in above:
        while stack and stack[-1].indent >= statement.indent:
            stack.pop()
        stack.append(statement)
    return stack


def _scope(above: Sequence[Statement], cursor: Cursor) -> int | None:
    """The columns of the head of the innermost function that the cursor's line can be in; None for none."""
    typed = cursor.line_prefix
    limit = len(lines.leading(typed).expandtabs(8)) if typed.strip() else None
    heads = [s for s in _levels(above) if _HEAD.match(s.code) and not s.code.startswith("@")]
    if limit is not None:
        heads = [s for s in heads if s.indent < limit]
    return heads[-1].indent if heads else None


def _options(here: HintPlace, cursor: Cursor) -> Iterator[tuple[str, bool]]:
    """The white space that the line may start with, and whether it then has to open a block."""
    previous, following = here.previous, here.following
    if previous is None:
        return
    floor = _scope(here.above, cursor)
    last = following.indent if following is not None else 0
    levels = [s.leading for s in here.levels]
    if previous.opens:
        deeper = previous.leading + cursor.indent
        if following is not None and previous.indent < last < len(deeper.expandtabs(8)) + 2:
            deeper = following.leading
        levels = [deeper]
    elif previous.ends:
        levels.pop()
    for leading in levels:
        width = len(leading.expandtabs(8))
        if floor is not None and width <= floor and here.below:
            continue
        if last > width:
            if last <= width + max(len(cursor.indent.expandtabs(8)), 1) + 1:
                yield leading, True
        elif following is not None and following.continues and width == last:
            continue
        else:
            yield leading, False


def _block(below: Sequence[Statement]) -> Iterator[Statement]:
    """The statements of the block that the missing line opens."""
    for statement in below:
        if statement.indent < below[0].indent:
            return
        yield statement


def missing(here: HintPlace, cursor: Cursor) -> tuple[str, ...]:
    """The names that are used below and bound nowhere, in order of use."""
    known = {name for s in here.above for name in (*s.names(), *s.binds())}
    found: list[str] = []
    for statement in here.below:
        found += dict.fromkeys(n for n in statement.needs() if n not in known and n not in found)
        known |= statement.binds()
        if statement.word in ("import", "from") and "*" in statement.code:
            return ()
    if not found or _STARS.search(cursor.prefix) or _STARS.search(cursor.suffix):
        return ()
    text = visible(cursor)
    return tuple(n for n in found if not n.isupper() and not is_global(n, text))


def visible(cursor: Cursor) -> str:
    """The document, or of a long one its start and what is around the cursor: where names are looked up."""
    before, after = cursor.prefix, cursor.suffix[: 4 * _REACH]
    if len(before) > 8 * _REACH:
        before = f"{before[: 2 * _REACH]}\n{before[-4 * _REACH :]}"
    return lines.normalize(before + after)


def is_global(name: str, text: str) -> bool:
    """Whether a name stands at the file's margin somewhere, in an import, or in a block that is no definition's."""
    word = re.escape(name)
    if re.search(rf"^(?:(?=[^\s#])|[ \t]+(?:import|from)\b)[^\n]*\b{word}\b", text, re.MULTILINE):
        return True
    if re.search(rf"^[ \t]+{word}(?:[ \t]+as[ \t]+\w+)?,[ \t]*(?:#[^\n]*)?$", text, re.MULTILINE):
        return True  # a line of an import in brackets
    for match in re.finditer(rf"^[ \t]+{word}[ \t]*[:=]", text, re.MULTILINE):
        heads = list(
            re.finditer(r"^[^\s#)\]}\"']", text[max(0, match.start() - _REACH) : match.start()], re.M)
        )
        if heads and not _HEAD.match(text, max(0, match.start() - _REACH) + heads[-1].start()):
            return True
    return False


def _use(name: str, below: Sequence[Statement]) -> str:
    """The character that follows the first use of a name."""
    word = re.compile(rf"(?<![\w.]){re.escape(name)}\b\s*(.?)")
    return next((m.group(1) for s in below if (m := word.search(s.code))), "")
