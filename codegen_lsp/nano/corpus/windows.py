"""Comparing source text by what it says: lexical tokens, hashed in sliding windows.

Knows nothing about files or distributions. Both the near-duplicate filter and the proof that nothing
held out was trained on are built on `window_hashes`.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_TOKEN = re.compile(r"\w+|[^\w\s]")
_REPEATED = re.compile(r"([^\w\s])\1+")
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 1 << 64)


@lru_cache(maxsize=1 << 20)
def _token_hash(token: str) -> int:
    data = token.encode("utf-8", "surrogatepass")
    return (zlib.crc32(data) << 32 | zlib.adler32(data)) * _BASE & 0xFFFFFFFFFFFFFFFF


def lexical_tokens(text: str) -> list[str]:
    """Words and punctuation marks; a mark that repeats (a ruler) counts once, white space not at all."""
    return _TOKEN.findall(_REPEATED.sub(r"\1", text))


def window_hashes(text: str, width: int) -> Hashes:
    """One 64-bit hash for each window of `width` lexical tokens, in order; empty for a shorter text.

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
    """The hashes whose high bits are a multiple of `one_in`: the same windows in every file that has them."""
    result: Hashes = hashes[(hashes >> np.uint64(33)) % np.uint64(one_in) == 0]
    return result
