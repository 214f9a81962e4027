"""The learning baseline: a smoothed n-gram model of the corpus, mixed with a cache of the open file.

Interpolated absolute discounting (Ney, Essen and Kneser, 1994): each order subtracts a discount from its counts and
passes that probability on to the next lower order. Knows token ids, no text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ORDER = 5
"""Number of tokens in the longest n-grams."""

DISCOUNT = 0.75
"""Subtracted from every count."""

CACHE_SHARE = 0.4
"""Weight of the cache of the open file."""

Probabilities = NDArray[np.float64]
Ids = NDArray[np.int64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def _mixed(key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the keys with well mixed bits (the finalizer of SplitMix64)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


def context_keys(tokens: NDArray[Any], length: int, bits: int) -> NDArray[np.uint64]:
    """Return a key of the `length` tokens before each position from `length` on, with the lowest `bits` bits zero."""
    count = len(tokens) - length
    key = np.zeros(max(count, 0), dtype=np.uint64)
    for shift in range(length):
        key = _mixed(key * _MULTIPLIER + tokens[shift : shift + count].astype(np.uint64) + np.uint64(1))
    return key >> np.uint64(bits) << np.uint64(bits)


@dataclass(frozen=True, slots=True)
class Table:
    """The n-grams of one order, sorted by context, then token; `ends` has running totals of their counts."""

    keys: NDArray[np.uint64]
    ends: NDArray[np.int64]
    """One element longer than `keys`: the count of n-gram i is ends[i + 1] - ends[i]."""


def count_ngrams(tokens: NDArray[Any], order: int, bits: int) -> Table:
    """Return the table of one order over a stream of tokens."""
    keys = context_keys(tokens, order - 1, bits) | tokens[order - 1 :].astype(np.uint64)
    keys.sort()
    starts = (
        np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
        if len(keys)
        else np.empty(0, np.int64)
    )
    return Table(keys[starts], np.append(starts, len(keys)).astype(np.int64))


class NGramModel:
    """P(token | previous tokens), from the counts of all orders up to `ORDER`."""

    def __init__(self, tables: Sequence[Table], vocabulary: int) -> None:
        self.tables = tables
        self.vocabulary = vocabulary
        self._bits = (vocabulary - 1).bit_length()

    @classmethod
    def fit(cls, tokens: NDArray[Any], vocabulary: int, order: int = ORDER) -> NGramModel:
        """Count the n-grams of a stream of tokens."""
        bits = (vocabulary - 1).bit_length()
        return cls([count_ngrams(tokens, n, bits) for n in range(1, order + 1)], vocabulary)

    def save(self, folder: Path) -> None:
        """Write the tables into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for order, table in enumerate(self.tables, start=1):
            np.save(folder / f"keys-{order}.npy", table.keys)
            np.save(folder / f"ends-{order}.npy", table.ends)

    @classmethod
    def load(cls, folder: Path, vocabulary: int, order: int = ORDER) -> NGramModel:
        """Return the model that `save` wrote, memory-mapped."""
        tables = [
            Table(
                np.load(folder / f"keys-{n}.npy", mmap_mode="r"),
                np.load(folder / f"ends-{n}.npy", mmap_mode="r"),
            )
            for n in range(1, order + 1)
        ]
        return cls(tables, vocabulary)

    def distribution(self, context: Sequence[int]) -> Probabilities:
        """Return the probability of every token after a context, (vocabulary,)."""
        result: Probabilities = np.full(self.vocabulary, 1.0 / self.vocabulary)
        tokens = np.asarray(context[-len(self.tables) :], dtype=np.int64)
        for order, table in enumerate(self.tables, start=1):
            if len(tokens) < order - 1:
                break
            key = context_keys(np.append(tokens[len(tokens) - order + 1 :], 0), order - 1, self._bits)
            first, last = np.searchsorted(table.keys, [key[0], key[0] + np.uint64(self.vocabulary)])
            if first == last:
                break
            total = table.ends[last] - table.ends[first]
            kept = np.diff(table.ends[first : last + 1]) - DISCOUNT
            result *= DISCOUNT * (last - first) / total
            result[(table.keys[first:last] - key[0]).astype(np.int64)] += kept / total
        return result

    def probabilities(self, tokens: Ids) -> Probabilities:
        """Return the probability of each token of a text after the previous ones, as in `distribution`."""
        result: Probabilities = np.full(len(tokens), 1.0 / self.vocabulary)
        live = np.ones(len(tokens), dtype=bool)
        for order, table in enumerate(self.tables, start=1):
            live[: order - 1] = False
            contexts = context_keys(tokens, order - 1, self._bits)
            index = np.arange(order - 1, len(tokens))
            first = np.searchsorted(table.keys, contexts)
            last = np.searchsorted(table.keys, contexts + np.uint64(self.vocabulary))
            live[index] &= last > first
            use = live[index]
            index, first, last, contexts = index[use], first[use], last[use], contexts[use]
            total = table.ends[last] - table.ends[first]
            keys = contexts + tokens[index].astype(np.uint64)
            entry = np.minimum(np.searchsorted(table.keys, keys), len(table.keys) - 1)
            hit = table.keys[entry] == keys
            kept = np.where(hit, table.ends[entry + 1] - table.ends[entry] - DISCOUNT, 0.0)
            result[index] = result[index] * DISCOUNT * (last - first) / total + kept / total
        return result


class FileCache:
    """The same model of the open file, updated token by token; its lowest order backs off to another model."""

    def __init__(self, order: int = ORDER) -> None:
        self.order = order
        self.tokens: list[int] = []
        self._counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)

    def add(self, token: int) -> None:
        """Append a token to the file."""
        for length in range(min(self.order, len(self.tokens) + 1)):
            self._counts[tuple(self.tokens[len(self.tokens) - length :])][token] += 1
        self.tokens.append(token)

    def drop(self) -> None:
        """Remove the last token of the file."""
        token = self.tokens.pop()
        for length in range(min(self.order, len(self.tokens) + 1)):
            context = tuple(self.tokens[len(self.tokens) - length :])
            counts = self._counts[context]
            counts[token] -= 1
            if not counts[token]:
                del counts[token]
            if not counts:
                del self._counts[context]

    def become(self, tokens: Sequence[int]) -> None:
        """Replace the file; the cost depends on the number of tokens that differ at its end."""
        pairs = zip(self.tokens, tokens, strict=False)
        common = next(
            (i for i, (old, new) in enumerate(pairs) if old != new), min(len(self.tokens), len(tokens))
        )
        if common < len(self.tokens) // 2:
            self.tokens, common = [], 0
            self._counts.clear()
        while len(self.tokens) > common:
            self.drop()
        for token in tokens[len(self.tokens) :]:
            self.add(token)

    def _orders(self, context: Sequence[int]) -> list[tuple[Counter[int], int]]:
        orders = []
        for length in range(min(self.order, len(context) + 1)):
            counts = self._counts.get(tuple(context[len(context) - length :]))
            if counts is None:
                break
            orders.append((counts, counts.total()))
        return orders

    def probability(self, token: int, below: float) -> float:
        """Return P(token | the file), given the token's probability `below` without the file."""
        for counts, total in self._orders(self.tokens):
            seen = counts.get(token, 0)
            below = below * DISCOUNT * len(counts) / total + (max(seen - DISCOUNT, 0.0) / total)
        return below

    def distribution(self, context: Sequence[int], below: Probabilities) -> Probabilities:
        """Return the probability of every token after a context, given the probabilities `below` without the file.

        The context may extend beyond the file.
        """
        result = below.copy()
        for counts, total in self._orders(context):
            result *= DISCOUNT * len(counts) / total
            ids = np.fromiter(counts.keys(), dtype=np.int64, count=len(counts))
            result[ids] += (
                np.fromiter(counts.values(), dtype=np.float64, count=len(counts)) - DISCOUNT
            ) / total
        return result


def mixed(corpus: Any, cached: Any) -> Any:
    """Return the mixture of the corpus's probabilities and the file's."""
    return (1 - CACHE_SHARE) * corpus + CACHE_SHARE * cached
