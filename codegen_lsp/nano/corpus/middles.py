"""Cuts a piece of source text into prefix, middle and suffix where a user's cursor would be.

There are five kinds of middles, each as (start, end) offsets: the rest of a line, a part of a line, a whole line, a
block of lines, and a random span. A middle at the start of a line includes the indentation half of the time, and
leaves it to the prefix otherwise. Deterministic for a given generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

CLOSERS = ")]}:,;\"' \t"
"""Characters that are often behind the cursor already, typed by the user or closed by the editor."""

BLOCK_LINES = 12
"""Maximum number of lines in a block."""

SPAN_CHARACTERS = 600
"""Maximum length of a random span."""

SHORT_SUFFIX = 0.6
"""Share of the suffixes that end with a line after `SUFFIX_CHARACTERS`, as the suffixes of an editor's prompts do."""

SUFFIX_CHARACTERS = (60, 1000)
"""Minimum and maximum limit of a short suffix (log-uniform); about 16 and 280 tokens."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Parts:
    """A text in three parts; `beyond` is the text after a suffix that was cut short."""

    prefix: str
    middle: str
    suffix: str
    beyond: str = ""

    @property
    def text(self) -> str:
        """Return the original text."""
        return self.prefix + self.middle + self.suffix + self.beyond


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank, without its line end: where it starts, its text, and whether "\\n" follows."""

    start: int
    text: str
    ended: bool

    @property
    def indent(self) -> int:
        """Return the number of characters of indentation."""
        return len(self.text) - len(self.text.lstrip())

    @property
    def end(self) -> int:
        """Return the offset after the line's last character."""
        return self.start + len(self.text)


def lines_of(text: str) -> list[Line]:
    """Return the lines of a text that are not blank."""
    lines, start = [], 0
    for raw in text.splitlines(keepends=True):
        line = raw.removesuffix("\n")
        if line.strip():
            lines.append(Line(start, line, raw != line))
        start += len(raw)
    return lines


def rest_of_line(lines: Sequence[Line], generator: Random) -> Span:
    """Cut from a random column after the indentation to the end of the line."""
    line = generator.choice(lines)
    return line.start + generator.randint(line.indent, len(line.text)), line.end


def part_of_line(lines: Sequence[Line], generator: Random) -> Span:
    """Cut within a line, half of the time up to its closing brackets and marks.

    For example, the middle in `print(total)` can be "total", with ")" as the suffix.
    """
    line = generator.choice(lines)
    stop = max(line.indent, len(line.text.rstrip(CLOSERS)))
    if generator.random() < 0.5:
        stop = generator.randint(line.indent, len(line.text))
    return line.start + generator.randint(line.indent, stop), line.start + stop


def whole_line(lines: Sequence[Line], generator: Random) -> Span:
    """Cut a line, with or without its indentation and its line end, each half of the time."""
    line = generator.choice(lines)
    return _whole_lines(line, line, generator)


def block(lines: Sequence[Line], generator: Random) -> Span:
    """Cut a statement with its body, or a line and what follows it in its block; at most `BLOCK_LINES` lines."""
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
"""The kinds of middles and their shares. Most requests of an editor complete a part of one line."""


def cut(text: str, generator: Random) -> Parts | None:
    """Cut a text into three parts, often with a short suffix; None if the text has only blank lines."""
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
