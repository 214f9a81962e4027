"""Compares source texts by their lexical tokens, hashed in sliding windows.

Knows text only, no files or distributions. The near-duplicate filter and the check that training data shares nothing
with held-out code are both built on `window_hashes`.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

LEAK_WIDTH = 50
"""A file that shares a window of this many lexical tokens with a held-out file is not trained on."""

_NEAR_WIDTH, _NEAR_SAMPLE, _NEAR_SHARE = 12, 8, 0.5
_TOKEN = re.compile(r"\w+|[^\w\s]")
_REPEATED = re.compile(r"([^\w\s])\1+")
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 1 << 64)


@lru_cache(maxsize=1 << 20)
def _token_hash(token: str) -> int:
    data = token.encode("utf-8", "surrogatepass")
    return (zlib.crc32(data) << 32 | zlib.adler32(data)) * _BASE & 0xFFFFFFFFFFFFFFFF


def lexical_tokens(text: str) -> list[str]:
    """Return the words and punctuation marks of a text; a run of the same mark (a ruler) counts once.

    For example, "a = b  # ----" gives ["a", "=", "b", "#", "-"].
    """
    return _TOKEN.findall(_REPEATED.sub(r"\1", text))


def window_hashes(text: str, width: int) -> Hashes:
    """Return one 64-bit hash for each window of `width` lexical tokens, in order; empty for a shorter text.

    A polynomial rolling hash over the whole text at once: with prefix sums P of h[j] * B**j, the window at i
    is (P[i + width] - P[i]) * B**-i, all modulo 2**64.
    """
    tokens = lexical_tokens(text)
    count = len(tokens) - width + 1
    if count <= 0:
        return np.empty(0, dtype=np.uint64)
    hashes = np.fromiter(map(_token_hash, tokens), dtype=np.uint64, count=len(tokens))
    sums = np.zeros(len(tokens) + 1, dtype=np.uint64)
    np.cumsum(hashes * _powers(_BASE, len(tokens)), out=sums[1:])
    result: Hashes = (sums[width:] - sums[:-width]) * _powers(_INVERSE, count)
    return result


def _powers(base: int, count: int) -> Hashes:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    result: Hashes = np.cumprod(powers, dtype=np.uint64)
    return result


def sampled(hashes: Hashes, one_in: int) -> Hashes:
    """Return about one hash in `one_in`, chosen by value, so that equal windows are chosen in every text."""
    result: Hashes = hashes[(hashes >> np.uint64(33)) % np.uint64(one_in) == 0]
    return result


def leaks(text: str, forbidden: Hashes) -> bool:
    """Return whether any window of `LEAK_WIDTH` tokens of the text is among the sorted hashes `forbidden`."""
    hashes = window_hashes(text, LEAK_WIDTH)
    indexes = np.searchsorted(forbidden, hashes)
    indexes[indexes == len(forbidden)] = 0
    return bool(np.any(forbidden[indexes] == hashes)) if len(forbidden) else False


class NearDuplicates:
    """Sampled windows of all texts kept so far; a text that mostly consists of them is a near duplicate."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def keeps(self, text: str) -> bool:
        """Return whether at most half of the text is in texts kept before; if so, keep it as well."""
        windows = set(sampled(window_hashes(text, _NEAR_WIDTH), _NEAR_SAMPLE).tolist())
        if windows and len(windows & self._seen) > _NEAR_SHARE * len(windows):
            return False
        self._seen |= windows
        return True
