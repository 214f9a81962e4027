"""Cuts a piece of source text into prefix, middle and suffix, the way a person's cursor would.

Five kinds of middles, each as (start, end) offsets: the rest of a line, a part of a line, a whole line, a block of
lines, and a random span. A middle that begins a line begins with the line's indentation half of the time, and
leaves the indentation to the prefix otherwise. Deterministic for a given generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

CLOSERS = ")]}:,;\"' \t"
"""Characters that an editor, or a person, has often typed behind the cursor already."""

BLOCK_LINES = 12
SPAN_CHARACTERS = 600
SHORT_SUFFIX = 0.6
"""Share of the suffixes that are cut at a line's end after `SUFFIX_CHARACTERS`, as an editor's prompt cuts them."""
SUFFIX_CHARACTERS = (60, 1000)
"""The least and the greatest limit (log-uniform); about 16 and 280 tokens."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Parts:
    """A text in three parts; `beyond` is what follows a suffix that was cut short."""

    prefix: str
    middle: str
    suffix: str
    beyond: str = ""

    @property
    def text(self) -> str:
        """The text that was cut."""
        return self.prefix + self.middle + self.suffix + self.beyond


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank, without its line end: where it starts, its text, and whether "\\n" follows."""

    start: int
    text: str
    ended: bool

    @property
    def indent(self) -> int:
        """Number of characters of indentation."""
        return len(self.text) - len(self.text.lstrip())

    @property
    def end(self) -> int:
        """Offset behind the line's last character."""
        return self.start + len(self.text)


def lines_of(text: str) -> list[Line]:
    """List the lines of a text that are not blank."""
    lines, start = [], 0
    for raw in text.splitlines(keepends=True):
        line = raw.removesuffix("\n")
        if line.strip():
            lines.append(Line(start, line, raw != line))
        start += len(raw)
    return lines


def rest_of_line(lines: Sequence[Line], generator: Random) -> Span:
    """Cut from a place after the indentation to the end of the line."""
    line = generator.choice(lines)
    return line.start + generator.randint(line.indent, len(line.text)), line.end


def part_of_line(lines: Sequence[Line], generator: Random) -> Span:
    """Cut within a line, half of the time up to the brackets and marks that close it."""
    line = generator.choice(lines)
    stop = max(line.indent, len(line.text.rstrip(CLOSERS)))
    if generator.random() < 0.5:
        stop = generator.randint(line.indent, len(line.text))
    return line.start + generator.randint(line.indent, stop), line.start + stop


def whole_line(lines: Sequence[Line], generator: Random) -> Span:
    """Cut a line, with or without its indentation and its line end."""
    line = generator.choice(lines)
    return _whole_lines(line, line, generator)


def block(lines: Sequence[Line], generator: Random) -> Span:
    """Cut a statement with its body, or the lines from one to the end of its block, `BLOCK_LINES` at most."""
    first = generator.randrange(len(lines))
    allowed = lines[first].indent + generator.randint(0, 1)  # 1: only the body, which is deeper
    last = first
    limit = min(len(lines), first + generator.randint(2, BLOCK_LINES))
    while last + 1 < limit and lines[last + 1].indent >= allowed:
        last += 1
    return _whole_lines(lines[first], lines[last], generator)


def random_span(lines: Sequence[Line], generator: Random) -> Span:
    """Cut anywhere, without regard to syntax."""
    last = lines[-1].end
    start = generator.randrange(last)
    return start, min(last, start + _log_uniform(1, SPAN_CHARACTERS, generator))


def _whole_lines(first: Line, last: Line, generator: Random) -> Span:
    start = first.start + (first.indent if generator.random() < 0.5 else 0)
    return start, last.end + (last.ended and generator.random() < 0.5)


KINDS: tuple[tuple[Callable[[Sequence[Line], Random], Span], float], ...] = (
    (rest_of_line, 0.30),
    (part_of_line, 0.13),
    (whole_line, 0.24),
    (block, 0.20),
    (random_span, 0.13),
)
"""The kinds of middles and their shares. Most requests of an editor ask for a part of one line."""


def cut(text: str, generator: Random) -> Parts | None:
    """Cut a text into three parts, whose suffix is often short; None when the text has only blank lines."""
    lines = lines_of(text)
    if not lines:
        return None
    kinds, shares = zip(*KINDS, strict=True)
    start, end = generator.choices(kinds, shares)[0](lines, generator)
    stop = len(text)
    if generator.random() < SHORT_SUFFIX:
        line_end = text.find("\n", end + _log_uniform(*SUFFIX_CHARACTERS, generator))
        stop = len(text) if line_end < 0 else line_end + 1
    return Parts(text[:start], text[start:end], text[end:stop], text[stop:])


def _log_uniform(least: int, greatest: int, generator: Random) -> int:
    return round(math.exp(generator.uniform(math.log(least), math.log(greatest))))
