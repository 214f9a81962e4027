"""Where a continuation says again what it, or the document around it, says already."""

from __future__ import annotations

import re
from collections.abc import Sequence

from codegen_lsp.lsp.code.site import Site

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
    second = loop_of_lines(text)
    return second if second is not None else _loop_at_the_end(text)


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
    match = _TAIL.search(text, max(line, len(text) - _REACH))
    if match is None or len(match.group()) < _SHORTEST:
        return None
    unit, start = match.group("unit"), match.start()
    remainder = match.group()
    while remainder.startswith(unit):
        remainder = remainder[len(unit) :]
    if not (unit.startswith(remainder) and _WORD.search(unit) and len(set(unit)) > 1):
        return None
    while start - len(unit) >= line and text.startswith(unit, start - len(unit)):
        start -= len(unit)
    return start + len(unit)


def of_lines_below(text: str, site: Site) -> int | None:
    """Where the text starts to repeat the lines below the cursor's and does nothing else from there on."""
    below = [ln.strip() for ln in site.below if ln.strip()]
    if not below:
        return None
    offset = 0
    written = (site.before + text).split("\n")
    for i, line in enumerate(written):
        if line.strip() == below[0] and _repeats([ln.strip() for ln in written[i:] if ln.strip()], below):
            return max(0, offset - len(site.before) - 1)
        offset += len(line) + 1
    return None


def _repeats(continued: Sequence[str], below: Sequence[str]) -> bool:
    same = 0
    for a, b in zip(continued, below, strict=False):
        if a != b:
            break
        same += 1
    return (same == len(continued) or same >= _TIMES) and bool(_WORD.search("".join(continued[:same])))


def lines_above(text: str, site: Site) -> bool:
    """Whether the text is nothing but the lines right above, once more."""
    above = [ln.strip() for ln in site.above if ln.strip()]
    written = [ln.strip() for ln in (site.before + text).split("\n") if ln.strip()]
    return (
        bool(written) and written == above[-len(written) :] and len(_WORD.findall("".join(written))) >= _TIMES
    )
