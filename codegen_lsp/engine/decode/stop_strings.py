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
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.text = ""
        self.released = 0
        self.matched = False
        self._longest = max(map(len, stops), default=0)

    def feed(self, more: str) -> None:
        """Add text. At a stop string the text ends before it, and `matched` is set."""
        start = max(0, len(self.text) - self._longest + 1)
        self.text += more
        starts = [index for stop in self.stops if (index := self.text.find(stop, start)) >= 0]
        if starts:
            self.text = self.text[: min(starts)]
            self.matched = True
            self.released = len(self.text)
        else:
            self.released = len(self.text) - self._undecided()

    def finish(self) -> None:
        """Release everything: the text is complete."""
        self.released = len(self.text)

    def _undecided(self) -> int:
        """Return the number of characters at the end that could begin a stop string."""
        for length in range(min(self._longest - 1, len(self.text)), 0, -1):
            tail = self.text[-length:]
            if any(stop.startswith(tail) for stop in self.stops):
                return length
        return 0
