"""Find where a continuation repeats itself or the document around it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from codegen_lsp.lsp.code.site import Site

_PERIOD = 4
"""Lines of the longest loop that is looked for."""
_TIMES = 3
_TIMES_OF_ROWS = 4
_TIMES_OF_BRACKETS = 6
"""Lines of the same brackets that are a loop; three in a row are often correct."""
_TIMES_OF_STEPS = 10
"""Rounds of lines that count on, or of rows of numbers, that are a loop: real code unrolls eight."""
_TIMES_OF_NUMBERS = 32
"""Rounds of numbers within a line that are a loop: a table of zeros fills lines."""
_COUNTS_ON = re.compile(
    r"""
    \+\+ | \w--(?![\w-]) | [-+*/%|&^]=(?!=) | <<= | >>=      # `*p++ = w;`, `w >>= 8;`
    | \b(?:\w{0,20}[nN]ext|[rR]ead|pop|shift|advance|consume)\(         # `it.next()`
    """,
    re.VERBOSE,
)
_TIMES_OF_FORMATS = 12
"""Rounds of a placeholder within a line that are a loop: `"%s %s %s %s %s"` formats a record."""
_TIMES_OF_WORDS = 6
"""Rounds of a short word within a line that are a loop: `int, int, int, int` is a signature."""
_SHORT_WORD = 8
_FORMAT = re.compile(r"%[-\w.]*\w|\{\w?\}|\$\w")
_NUMBER = re.compile(r"\b(?:0[xX][0-9a-fA-F]+|\d[\d_.]*[a-zA-Z]{0,3})\b")
_REACH = 240
_SHORTEST = 12
"""Characters of the shortest loop within a line."""
_TAIL = re.compile(r"(?P<unit>[^\n]{2,40}?)(?P=unit){3,}[^\n]{0,40}\Z")
_WORDS_OF_A_ROW = 2
_NEAR = 40
"""Lines above and below among which rows that come twice are looked for."""
_BLANKS = 100
"""Blank lines above that are looked past."""
_BRACKETS = "()[]{};, "
_WORD = re.compile(r"\w+")


def loop(text: str) -> int | None:
    """Return where the second round of the first loop starts; None without a loop."""
    second = loop_of_lines(text)
    return second if second is not None else _loop_at_the_end(text)


def loop_of_lines(text: str) -> int | None:
    """Return where the second round of one to four repeated lines starts.

    Three rounds are a loop, four where they may be the rows of a literal, and six lines of the same opening
    brackets, each deeper. Ten are it where each round does something new though it reads the same: lines that count
    on, rows of numbers. Lines that close blocks (`end`, `end`, `end`) are not. The loop that is complete first is
    returned, so that more text never changes the answer.
    """
    written = text.split("\n")
    pieces = [piece.strip() for piece in written]
    for end in range(_TIMES, len(pieces) + 1):
        for period in range(1, min(_PERIOD, end // _TIMES) + 1):
            if pieces[end - period : end] != pieces[end - 2 * period : end - period]:
                continue
            times = _rounds(pieces[end - period : end])
            start = end - times * period
            if start < 0 or not pieces[start] or pieces[start:end] != pieces[start : start + period] * times:
                continue
            if not _dedents(written[start:end:period]):
                return len("\n".join(written[: start + period]))
    return None


def _rounds(cycle: Sequence[str]) -> int:
    """Return how many rounds of some lines are a loop."""
    if not "".join(cycle).strip(_BRACKETS):
        return _TIMES_OF_BRACKETS
    if any(map(may_recur, cycle)):
        return _TIMES_OF_STEPS
    return _TIMES_OF_ROWS if cycle[-1].endswith(",") else _TIMES


def may_recur(line: str) -> bool:
    """Return whether a line does something new each time that it comes: it counts on, or is a row of numbers."""
    is_row = line.endswith(",") and _NUMBER.search(line) is not None
    return is_row or _COUNTS_ON.search(line) is not None


def _dedents(lines: Sequence[str]) -> bool:
    """Return whether each line is less deep than the one before it."""
    widths = [len(line) - len(line.lstrip()) for line in lines]
    return all(a > b for a, b in pairwise(widths))


def _loop_at_the_end(text: str) -> int | None:
    """Return where the second round starts of a piece that fills the end of the last line four times or more."""
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
    return start + len(unit) if len(text) - start >= _rounds_within_a_line(unit) * len(unit) else None


def _rounds_within_a_line(unit: str) -> int:
    """Return how many rounds of a piece of a line are a loop."""
    if not _WORD.search(_NUMBER.sub("", unit)):
        return _TIMES_OF_NUMBERS
    if _FORMAT.search(unit):
        return _TIMES_OF_FORMATS
    return _TIMES_OF_WORDS if len(unit) <= _SHORT_WORD else _TIMES


def of_lines_below(text: str, site: Site) -> int | None:
    """Return where the text starts to repeat the lines below the cursor's and only repeats them from there on.

    Lines at another depth are different lines: a guard's `return None` above the function's own.
    """
    below = [line.rstrip() for line in site.below if line.strip()]
    if not below:
        return None
    offset = 0
    written = (site.before + text).split("\n")
    for index, line in enumerate(written):
        if line.rstrip() == below[0] and _repeats(
            site, [ln.rstrip() for ln in written[index:] if ln.strip()], below
        ):
            return max(0, offset - len(site.before) - 1)
        offset += len(line) + 1
    return None


def _repeats(site: Site, continued: Sequence[str], below: Sequence[str]) -> bool:
    may_be_equal = continued[0].endswith(",") or site.language.blocks == "markup"
    is_short = may_be_equal and len(_WORD.findall(continued[0])) < _WORDS_OF_A_ROW
    if len(continued) == 1 and (is_short or may_recur(continued[0]) or _comes_twice(continued[0], site)):
        return False  # rows of a literal, closing tags
    same = 0
    for a, b in zip(continued, below, strict=False):
        is_last = same == len(continued) - 1 and not a.strip(_BRACKETS)
        if a != b and not (is_last and b.startswith(a)):
            break
        same += 1
    worded = sum(_WORD.search(line) is not None for line in continued[:same])
    return worded > 0 and (same == len(continued) or worded >= _TIMES)


def _comes_twice(line: str, site: Site) -> bool:
    """Return whether a line comes twice in a row near the cursor: rows that are repeated on purpose."""
    near = (site.above[-_NEAR:], site.below[:_NEAR])
    return any(a.rstrip() == b.rstrip() == line for rows in near for a, b in pairwise(rows)) or (
        site.previous_line.rstrip() == line
    )


def lines_above(text: str, site: Site) -> bool:
    """Return whether the text only repeats the lines right above, with three words or more.

    Lines that come twice above already are repeated on purpose.
    """
    written = [line.rstrip() for line in (site.before + text).split("\n") if line.strip()]
    above = [line.rstrip() for line in site.above[-2 * len(written) - _BLANKS :] if line.strip()]
    return (
        bool(written)
        and not all(map(may_recur, written))
        and written == above[-len(written) :] != above[-2 * len(written) : -len(written)]
        and len(_WORD.findall(" ".join(written))) >= _TIMES
    )
