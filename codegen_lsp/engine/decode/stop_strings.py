"""Turn decoded bytes into text that is safe to show: whole characters, and nothing that may become a stop string.

Knows bytes and strings. Knows no tokens.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Utf8:
    """An incremental decoder.

    Parts of a character are held back until it is complete, and dropped at the end of the text; invalid bytes become
    U+FFFD, as in `tokenizer.decode`.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, raw: bytes) -> str:
        """Return the characters that these bytes complete."""
        return self._decoder.decode(raw)


class Stops:
    """A growing text, up to the first stop string.

    `text` is everything so far; `released` counts the characters that can't become part of a stop string any more.
    Each character is looked at once (Knuth, Morris and Pratt 1977), however long the stop strings are.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.text = ""
        self.released = 0
        self.matched = False
        self._matchers = [_Matcher(stop) for stop in stops]

    def feed(self, more: str) -> None:
        """Add text. At a stop string the text ends before it, and `matched` is set."""
        start = len(self.text)
        self.text += more
        ends = [(matcher, end) for matcher in self._matchers if (end := matcher.feed(more))]
        if ends:
            self.text = self.text[: min(start + end - len(matcher.stop) for matcher, end in ends)]
            self.matched = True
            self.released = len(self.text)
        else:
            pending = max((matcher.pending for matcher in self._matchers), default=0)
            self.released = len(self.text) - pending

    def before_stop(self, text: str) -> str | None:
        """Return the part of a text before its first stop string; None if it has none."""
        starts = [at for matcher in self._matchers if (at := text.find(matcher.stop)) >= 0]
        return text[: min(starts)] if starts else None

    def finish(self) -> None:
        """Release everything: the text is complete."""
        self.released = len(self.text)


class _Matcher:
    """The search for one stop string in a text that comes in parts."""

    def __init__(self, stop: str) -> None:
        self.stop = stop
        self.pending = 0
        """Length of the longest end of the text that begins the stop string."""
        self._borders = _borders(stop)

    def feed(self, more: str) -> int:
        """Return the number of characters of `more` up to the end of the first match, or 0."""
        stop, pending = self.stop, self.pending
        for count, character in enumerate(more, start=1):
            while pending and stop[pending] != character:
                pending = self._borders[pending - 1]
            pending += stop[pending] == character
            if pending == len(stop):
                return count
        self.pending = pending
        return 0


def _borders(stop: str) -> list[int]:
    """Return, for each prefix, the length of its longest proper prefix that is also its end.

    "abab" gives 0, 0, 1, 2.
    """
    borders = [0] * len(stop)
    length = 0
    for index in range(1, len(stop)):
        while length and stop[index] != stop[length]:
            length = borders[length - 1]
        length += stop[index] == stop[length]
        borders[index] = length
    return borders
