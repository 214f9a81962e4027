"""Guess the next tokens of a row, so that one forward pass can verify several.

Drafts cost nothing to make: what followed the same tokens earlier, in the text that the client expects (the suggestion
that was shown last) or in the prompt and the row so far (prompt look-up decoding, Saxena 2023). Verifying chooses each
token as if there were no draft, and goes on while the draft has the same one. So the tokens are those of decoding step
by step: greedy ones equal, sampled ones drawn by the same random numbers.

Knows token ids and times of passes. Knows no models and no requests.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from codegen_lsp.engine.model.passes import StepTimes

WORD = array("i").itemsize
"""Bytes of a token id in an array."""

LENGTHS = (1, 3, 7)
"""Numbers of tokens in a draft."""

GRAMS = (4, 3, 2)
"""Numbers of last tokens that are looked up, the most telling ones first."""

PRIOR = 4.0
"""Weight of the first guess of the share of accepted tokens, in tokens."""

HOPE = 0.6
"""First guess of the share of drafted tokens that are accepted."""

RETURN = 0.02
"""How far a step without a draft brings the share back to the first guess: a text that repeats itself later is
noticed."""


class Corpus:
    """Texts as token ids, in which earlier occurrences of the last tokens are looked up."""

    def __init__(self, expected: Sequence[int], tokens: Sequence[int]) -> None:
        """Look up in `expected` first, then in `tokens`, which grow."""
        self._expected = array("i", expected).tobytes()
        self._tokens = bytearray(array("i", tokens).tobytes())

    def add(self, token: int) -> None:
        """Add a token of the row."""
        self._tokens += array("i", [token]).tobytes()

    def draft(self, count: int) -> list[int]:
        """Return up to `count` tokens that followed the last ones earlier."""
        for size in GRAMS:
            gram = bytes(self._tokens[-WORD * size :])
            if len(gram) == WORD * size:
                following = _following(self._expected, gram, len(self._expected), count)
                following = following or _following(self._tokens, gram, len(self._tokens) - WORD, count)
                if following:
                    return following
        return []


def _following(text: bytes | bytearray, gram: bytes, end: int, count: int) -> list[int]:
    """Return up to `count` tokens after the last occurrence of `gram` in text[:end] that something follows."""
    start = text.rfind(gram, 0, end)
    while start >= 0 and (start % WORD or start + len(gram) >= len(text)):
        start = text.rfind(gram, 0, start + len(gram) - 1)
    if start < 0:
        return []
    after = start + len(gram)
    return array("i", bytes(text[after : after + WORD * count])).tolist()


class Speculation:
    """Decides how many tokens to draft, from the tokens that were accepted before and from measured times."""

    def __init__(self, times: StepTimes) -> None:
        self._times = times
        self._accepted = HOPE * PRIOR
        self._drafted = PRIOR

    @property
    def share(self) -> float:
        """The expected share of drafted tokens that are accepted."""
        return self._accepted / self._drafted

    def length(self, room: int) -> int:
        """Return the number of tokens to draft, at most `room`; 0 if no draft is expected to gain time."""
        best, gain = 0, 1.0
        for count in LENGTHS:
            if count > room:
                break
            ratio = self._times.ratio(count + 1)
            # A length that was not measured yet is tried.
            expected = self._tokens(count) / ratio if ratio is not None else self._tokens(count)
            if expected > gain:
                best, gain = count, expected
        if not best:
            self._accepted += RETURN * (HOPE - self.share) * self._drafted
        return best

    def count(self, drafted: int, accepted: int) -> None:
        """Note how many tokens of a draft were accepted."""
        self._drafted = 0.9 * self._drafted + min(drafted, accepted + 1)
        self._accepted = 0.9 * self._accepted + accepted

    def _tokens(self, drafted: int) -> float:
        """Return the expected number of tokens that a pass with a draft gives."""
        return sum(self.share**index for index in range(drafted + 1))
