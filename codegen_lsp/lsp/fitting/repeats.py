"""Where a continuation says again what it, or the document around it, says already."""

from __future__ import annotations

import re
from collections.abc import Sequence

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.cursor import Cursor

_PERIOD = 4
"""Lines of the longest loop that is looked for."""
_TIMES = 3
_REACH = 240
_SHORTEST = 12
"""Characters of the shortest loop within a line."""
_TAIL = re.compile(r"(?P<unit>[^\n]{2,40}?)(?P=unit){3,}[^\n]{0,40}\Z")
_BRACKETS = "()[]{};, "
"""Lines of these alone may well come three times in a row."""
_WORD = re.compile(r"\w")


def loop(text: str) -> int | None:
    """Where the second round of the first loop starts; None where there is no loop."""
    at = loop_of_lines(text)
    return at if at is not None else _loop_at_the_end(text)


def loop_of_lines(text: str) -> int | None:
    """Where the second round starts of up to four lines that come three times in a row.

    The loop that is complete first is the one that is found, so that more text never changes the answer.
    """
    pieces = [p.strip() for p in text.split("\n")]
    for end in range(_TIMES, len(pieces) + 1):
        for period in range(1, min(_PERIOD, end // _TIMES) + 1):
            start = end - _TIMES * period
            cycle = pieces[start : start + period]
            if pieces[start:end] == cycle * _TIMES and cycle[0] and "".join(cycle).strip(_BRACKETS):
                return len("\n".join(text.split("\n")[: start + period]))
    return None


def _loop_at_the_end(text: str) -> int | None:
    """Where the second round starts of a piece of the last line that comes four times, and then to no end."""
    line = text.rfind("\n") + 1
    found = _TAIL.search(text, max(line, len(text) - _REACH))
    if found is None or len(found.group()) < _SHORTEST:
        return None
    unit, start = found.group("unit"), found.start()
    rest = found.group()
    while rest.startswith(unit):
        rest = rest[len(unit) :]
    if not (unit.startswith(rest) and _WORD.search(unit) and len(set(unit)) > 1):
        return None
    while start - len(unit) >= line and text.startswith(unit, start - len(unit)):
        start -= len(unit)
    return start + len(unit)


def of_lines_below(text: str, cursor: Cursor) -> int | None:
    """Where the text starts to repeat the lines below the cursor's and does nothing else from there on."""
    below = [ln.strip() for ln in lines.below(cursor) if ln.strip()]
    if not below:
        return None
    offset = 0
    own = (cursor.line_prefix + text).split("\n")
    for i, line in enumerate(own):
        rest = [ln.strip() for ln in own[i:] if ln.strip()]
        if line.strip() and _repeats(rest, below):
            return max(0, offset - len(cursor.line_prefix) - 1)
        offset += len(line) + 1
    return None


def _repeats(rest: Sequence[str], below: Sequence[str]) -> bool:
    same = 0
    for a, b in zip(rest, below, strict=False):
        if a != b:
            break
        same += 1
    return (same == len(rest) or same >= _TIMES) and bool(_WORD.search("".join(rest[:same])))


def lines_above(text: str, cursor: Cursor) -> bool:
    """Whether the text is nothing but the lines right above, once more."""
    above = [ln.strip() for ln in lines.above(cursor) if ln.strip()]
    own = [ln.strip() for ln in (cursor.line_prefix + text).split("\n") if ln.strip()]
    return bool(own) and own == above[-len(own) :] and len(_WORD.findall("".join(own))) >= _TIMES
