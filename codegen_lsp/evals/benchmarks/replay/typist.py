"""How a person types a file that exists already: where, in which order, with which slips.

A few gaps are cut into the file, mostly bodies of functions. The person fills them in, jumping from one to another,
mistypes and corrects some keys, and once writes a line above, which moves everything below it. All of it follows from
the file's text and a seed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from codegen_lsp.evals.harness.records import EvaluationError

_OPENER = re.compile(
    r"^\s*(?:async\s+def|def|func|function|class|public|private|static|void|int)\b.*$|.*[{:]\s*$"
)
MIN_GAP = 20
"""Shortest gap that is worth measuring, in characters."""

MEDIAN_SECONDS = 0.18
"""Median time between two keys of a practised typist, 60 to 70 words a minute."""
TYPO = 0.02
"""Probability that a key is wrong; it is corrected at once."""


@dataclass
class Gap:
    """Text that remains to be typed."""

    offset: int
    """Offset of its next character in the document."""
    left: str


@dataclass
class Draft:
    """The document in its present state, and what is missing from it."""

    text: str
    gaps: list[Gap]
    above: Gap | None = None
    """A whole line near the top that is written in the middle of the work."""
    order: list[int] = field(default_factory=list)
    """Indices of the gaps in the order of filling."""

    def insert(self, offset: int, text: str) -> None:
        """Insert text, and move the gaps behind it."""
        self.text = self.text[:offset] + text + self.text[offset:]
        self._shift(offset, len(text))

    def remove(self, start: int, end: int) -> None:
        """Remove text, and move the gaps behind it."""
        self.text = self.text[:start] + self.text[end:]
        self._shift(start, start - end)

    def _shift(self, offset: int, by: int) -> None:
        for gap in [*self.gaps, *([self.above] if self.above else [])]:
            if gap.offset > offset or (gap.offset == offset and by > 0):
                gap.offset += by

    def position(self, offset: int) -> tuple[int, int]:
        """Return the 0-based line and character of an offset."""
        line = self.text.count("\n", 0, offset)
        return line, offset - (self.text.rfind("\n", 0, offset) + 1)


Move = Literal["key", "typo"]


def draft(text: str, characters: int, gaps: int, seed: int | str) -> Draft:
    """Return a document with gaps of about `characters` characters in total.

    Raises:
        EvaluationError: the file has no block that is long enough for a gap.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    source = random.Random(seed)
    lines = text.splitlines(keepends=True)
    openers = [n for n, line in enumerate(lines[:-1]) if _OPENER.match(line.rstrip("\n"))]
    source.shuffle(openers)
    taken: list[tuple[int, int]] = []
    for opener in openers:
        span = _span(lines, opener + 1, max(MIN_GAP, characters // gaps))
        if len("".join(lines[slice(*span)])) < MIN_GAP or any(a < span[1] and span[0] < b for a, b in taken):
            continue
        taken.append(span)
        if len(taken) == gaps:
            break
    if not taken:
        raise EvaluationError("the file holds no function or block to type; choose another file")
    above = _line_above(lines, min(start for start, _ in taken), source)
    return _cut(lines, sorted(taken), above, source)


def _span(lines: Sequence[str], start: int, characters: int) -> tuple[int, int]:
    end, length = start, 0
    while end < len(lines) and length + len(lines[end]) <= max(characters, len(lines[start])):
        length += len(lines[end])
        end += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return start, end


def _line_above(lines: Sequence[str], first: int, source: random.Random) -> int | None:
    candidates = [
        n for n in range(first - 1) if lines[n].strip() and not lines[n].startswith((" ", "\t", '"', "'"))
    ]
    return source.choice(candidates) if candidates else None


def _cut(
    lines: Sequence[str], spans: Sequence[tuple[int, int]], above: int | None, source: random.Random
) -> Draft:
    """Cut the gaps; the first line's indentation and the last line's end stay, as an editor would have them."""
    text = ""
    gaps: list[Gap] = []
    missing: Gap | None = None
    number = 0
    while number < len(lines):
        span = next((s for s in spans if s[0] == number), None)
        if number == above:
            missing = Gap(len(text), lines[number])
            number += 1
        elif span is not None:
            body = "".join(lines[slice(*span)])
            indentation = body[: len(body) - len(body.lstrip(" \t"))]
            text += indentation
            gaps.append(Gap(len(text), body[len(indentation) :].rstrip("\n")))
            text += "\n"
            number = span[1]
        else:
            text += lines[number]
            number += 1
    order = list(range(len(gaps)))
    source.shuffle(order)
    return Draft(text, gaps, missing, order)


def next_key(left: str) -> str:
    """Return what the next key writes: a character, or a line end with the indentation that editors add."""
    if not left.startswith("\n"):
        return left[:1]
    indented = re.match(r"\n+[ \t]*", left)
    # Each empty line takes a key; the last line end brings the indentation.
    return left[:1] if left.startswith("\n\n") else indented[0] if indented else left[:1]


def keys(text: str) -> int:
    """Return the number of keys that a text takes without help."""
    count = 0
    while text:
        text = text[len(next_key(text)) :]
        count += 1
    return count


def moves(seed: int | str) -> Iterator[tuple[Move, float, str]]:
    """Yield without end: the kind of the next key, the seconds before it, and the wrong character of a typo."""
    source = random.Random(f"{seed}:moves")
    while True:
        seconds = source.lognormvariate(0.0, 0.5) * MEDIAN_SECONDS
        if source.random() < 0.04:
            seconds += source.uniform(0.5, 2.5)  # a thought
        kind: Move = "typo" if source.random() < TYPO else "key"
        yield kind, seconds, source.choice("etaoinshrdlu(=.")
