"""Decoded bytes to text that is safe to show: whole characters only, and nothing that may turn out a stop.

Knows bytes and strings. Knows no tokens.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Utf8:
    """Bytes to text as they come. Half a character is held back; bytes that can't be one give U+FFFD, as
    `tokenizer.decode` does. What is still half at the end is dropped: nobody wants it in a file."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, raw: bytes) -> str:
        """The characters that these bytes complete."""
        return self._decoder.decode(raw)


class Stops:
    """A text as it grows, up to the first stop string.

    `text` is everything so far; `released` counts the characters that can no longer become part of a stop.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.text = ""
        self.released = 0
        self.found = False
        self._longest = max(map(len, stops), default=0)

    def feed(self, more: str) -> None:
        """Add text. Where a stop is found the text ends before it, and `found` is set."""
        start = max(0, len(self.text) - self._longest + 1)
        self.text += more
        hits = [at for stop in self.stops if (at := self.text.find(stop, start)) >= 0]
        if hits:
            self.text = self.text[: min(hits)]
            self.found = True
            self.released = len(self.text)
        else:
            self.released = len(self.text) - self._undecided()

    def finish(self) -> None:
        """No more text comes: all of it is released."""
        self.released = len(self.text)

    def _undecided(self) -> int:
        """Characters at the end that could be the start of a stop."""
        for length in range(min(self._longest - 1, len(self.text)), 0, -1):
            tail = self.text[-length:]
            if any(stop.startswith(tail) for stop in self.stops):
                return length
        return 0
