"""Count the tokens of a text, cheaply enough for every keystroke.

The counts of lines are cached. The caller passes a function that counts, or `estimate` if there is no tokenizer.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from functools import lru_cache

Count = Callable[[str], int]
_LINES = 16_384


class TokenCounter:
    """A counter that caches the counts of lines; the server has one for each model.

    Byte-pair encodings join tokens across a line's end, so that the sum tends to be too high; `exact`
    counts the text as a whole, which costs milliseconds where the sum costs microseconds.
    """

    def __init__(self, count: Count, head: Callable[[str, int], str] | None = None) -> None:
        """Set the function that counts, and `head`, which returns the text of the first tokens; None with estimates."""
        self.exact = count
        self.line = lru_cache(maxsize=_LINES)(count)
        self._head = head

    def __call__(self, text: str) -> int:
        """Return the tokens of a text, as the sum over its lines."""
        return sum(self.line(line) for line in text.splitlines(keepends=True))

    def covered(self, text: str, tokens: int) -> int | None:
        """Return the number of characters that the first tokens of a text spell; None if tokens are estimated."""
        if self._head is None:
            return None
        same = itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(text, self._head(text, tokens), strict=False)
        )
        return sum(1 for _ in same)


_FIRST = 8
"""Tokens per twenty bytes until a server has counted some: more than most tokenizers need for code."""
_LEAST, _MOST = 2, 20
_ENOUGH = 256
"""Minimum number of bytes of a text whose count is used for other texts."""


def estimate(text: str, step: int = _FIRST) -> int:
    """Return a guess, rather too high, for a model with an unknown tokenizer: `step` tokens per twenty bytes."""
    return -(-step * _size(text) // 20)


class Estimates:
    """Estimates that follow the server's own counts of earlier prompts.

    Whole steps and a tenth on top: a rate that moved with every answer would move the start of the window too, and
    with it throw away what the server has cached. A higher rate counts at once, a lower one when several agree.
    """

    def __init__(self) -> None:
        self._seen: deque[int] = deque(maxlen=4)
        self._step = 0
        self._use(_FIRST)

    def learn(self, text: str, tokens: int) -> None:
        """Record the number of tokens that the server counted in a prompt."""
        size = _size(text)
        if size < _ENOUGH or tokens <= 0:
            return
        self._seen.append(max(_LEAST, min(_MOST, -(-22 * tokens // size))))
        highest = max(self._seen)
        if highest > self._step or len(self._seen) == self._seen.maxlen:
            self._use(highest)

    def refused(self) -> None:
        """Record that the server refused a prompt as too long, and estimate more tokens from now on."""
        self._seen.clear()
        self._use(min(_MOST, self._step + max(2, self._step // 4)))

    def _use(self, step: int) -> None:
        if step != self._step:
            self._step = step
            self.counter = TokenCounter(lambda text: estimate(text, step))


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
