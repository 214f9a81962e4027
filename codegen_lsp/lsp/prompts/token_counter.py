"""How many tokens a text is, cheaply enough to ask on every keystroke.

Knows a function that counts tokens and remembers what it said of each line. Knows no tokenizer: the caller
hands one in, or takes `estimate` where there is none.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from functools import lru_cache

Count = Callable[[str], int]
_LINES = 16_384


class TokenCounter:
    """Counts tokens line by line and remembers the lines; made once a model, owned by the server.

    Byte-pair encodings join tokens across a line's end, so that the sum is rather too high than too low; `exact`
    asks about the text as a whole, which costs milliseconds where the sum costs microseconds.
    """

    def __init__(self, count: Count, head: Callable[[str, int], str] | None = None) -> None:
        """`head` gives the text of a text's first tokens; None where the tokens are only estimated."""
        self.exact = count
        self.line = lru_cache(maxsize=_LINES)(count)
        self._head = head

    def __call__(self, text: str) -> int:
        """Return the tokens of a text, as the sum over its lines."""
        return sum(self.line(line) for line in text.splitlines(keepends=True))

    def covered(self, text: str, tokens: int) -> int | None:
        """Return the characters of a text that its first tokens hold whole; None where that can't be known."""
        if self._head is None:
            return None
        same = itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(text, self._head(text, tokens), strict=False)
        )
        return sum(1 for _ in same)


_FIRST = 8
"""Tokens for twenty bytes until a server has counted some: more than most tokenizers make of code."""
_LEAST, _MOST = 2, 20
_ENOUGH = 256
"""Bytes of a text from which on its count says something about others."""


def estimate(text: str, step: int = _FIRST) -> int:
    """Return a guess, rather too high, for a model with an unknown tokenizer: `step` tokens per twenty bytes."""
    return -(-step * _size(text) // 20)


class Estimates:
    """Guesses that follow what the server itself counted of earlier prompts.

    Whole steps and a tenth on top: a rate that moved with every answer would move the start of the window too, and
    with it throw away what the server has cached. A higher rate counts at once, a lower one when several agree.
    """

    def __init__(self) -> None:
        self._seen: deque[int] = deque(maxlen=4)
        self._step = 0
        self._use(_FIRST)

    def learn(self, text: str, tokens: int) -> None:
        """Take note of the number of tokens that the server counted in a prompt."""
        size = _size(text)
        if size < _ENOUGH or tokens <= 0:
            return
        self._seen.append(max(_LEAST, min(_MOST, -(-22 * tokens // size))))
        highest = max(self._seen)
        if highest > self._step or len(self._seen) == self._seen.maxlen:
            self._use(highest)

    def refused(self) -> None:
        """Take note that the server found a prompt too long that was expected to fit."""
        self._seen.clear()
        self._use(min(_MOST, self._step + max(2, self._step // 4)))

    def _use(self, step: int) -> None:
        if step != self._step:
            self._step = step
            self.counter = TokenCounter(lambda text: estimate(text, step))


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
