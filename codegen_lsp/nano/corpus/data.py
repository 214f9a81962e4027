"""Tokens on disk, and the rows that training takes from them, in an order that a few integers describe.

Knows documents and pools; knows nothing about models.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from codegen_lsp.nano.corpus.corpus import CorpusDocument, CorpusError, Pool, documents
from codegen_lsp.nano.corpus.fill import RowFiller, TokenIds
from codegen_lsp.nano.corpus.tokenizer import END_OF_TEXT, load_tokenizer, plain

BLOCK = 2048
"""Tokens that stay together when a pool is shuffled: the longest row that training may ask for."""

POOLS: tuple[Pool, ...] = get_args(Pool)


def tokenize_corpus(work: Path, tokenizer: Tokenizer, seed: int = 0) -> dict[str, int]:
    """Write `tokens-<pool>.npy` for each pool: its documents, shuffled, each after an end-of-text token.

    A document that has the name of a special token in its text is read as text.

    Returns the number of tokens of each pool.
    """
    end = tokenizer.token_to_id(END_OF_TEXT)
    reader = plain(tokenizer)
    streams: dict[str, list[TokenIds]] = {pool: [] for pool in POOLS}
    for batch in _batches(work, 256):
        for document, encoded in zip(
            batch, reader.encode_batch_fast([item.text for item in batch]), strict=True
        ):
            streams[document.pool].append(np.array([end, *encoded.ids], dtype=np.uint16))
    counts = {}
    for number, (pool, parts) in enumerate(streams.items()):
        np.random.default_rng([seed, number]).shuffle(parts)
        stream = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint16)
        np.save(work / f"tokens-{pool}.npy", stream)
        counts[pool] = len(stream)
    return counts


def _batches(work: Path, size: int) -> Iterator[list[CorpusDocument]]:
    iterator = documents(work)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


@dataclass(slots=True)
class Stream:
    """The tokens of one pool, read in shuffled blocks, again and again.

    Blocks are shuffled anew in each epoch, and then the rows of each 64 blocks among each other, so that the rows
    of a batch come from many files. `position` counts the tokens read and is all the state there is.
    """

    tokens: TokenIds
    seed: tuple[int, ...]
    position: int = 0
    _rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    _group: tuple[int, int, int] = (-1, -1, -1)

    GROUP = 64

    def take(self, length: int) -> TokenIds:
        """The next row of length + 1 tokens; a row's last token is the first of the text after it."""
        blocks = (len(self.tokens) - 1) // BLOCK
        if blocks < 1:
            raise CorpusError(
                f"a pool needs at least {BLOCK + 1} tokens; it has {len(self.tokens)}: build a larger corpus"
            )
        if self.position % length:
            self.position += length - self.position % length
        epoch, within = divmod(self.position, blocks * BLOCK)
        group, offset = divmod(within, self.GROUP * BLOCK)
        if self._group != (epoch, group, length):
            self._group = (epoch, group, length)
            order = np.random.default_rng([*self.seed, epoch]).permutation(blocks)[group * self.GROUP :][
                : self.GROUP
            ]
            rows = (order[:, None] * BLOCK + np.arange(0, BLOCK, length)).ravel()
            self._rows = np.random.default_rng([*self.seed, epoch, group]).permutation(rows)
        start = int(self._rows[offset // length])
        self.position += length
        return self.tokens[start : start + length + 1]


class Sampler:
    """Batches drawn from the pools in given shares, the same ones for the same seed and positions.

    `fill` is the share of rows that become fill-in-the-middle samples.
    """

    def __init__(self, work: Path, seed: int, fill: float = 0.0) -> None:
        missing = [pool for pool in POOLS if not (work / f"tokens-{pool}.npy").exists()]
        if missing:
            raise CorpusError(f"{work} holds no tokens: run `python -m codegen_lsp.nano tokenizer` first")
        self.streams = {
            pool: Stream(np.load(work / f"tokens-{pool}.npy", mmap_mode="r"), (seed, number))
            for number, pool in enumerate(POOLS)
        }
        self._debts = dict.fromkeys(POOLS, 0.0)
        self._seed, self._fill = seed, fill
        self._filler = RowFiller(load_tokenizer(work / "tokenizer")) if fill else None

    def batch(self, rows: int, length: int, shares: dict[Pool, float]) -> NDArray[np.int64]:
        """Token ids, (rows, length + 1). Each pool gets its share of rows over time, exactly."""
        taken = []
        for _ in range(rows):
            for pool in POOLS:
                self._debts[pool] += shares.get(pool, 0.0)
            pool = max(POOLS, key=self._debts.__getitem__)
            self._debts[pool] -= 1.0
            taken.append(self._row(pool, length))
        return np.stack(taken).astype(np.int64)

    def _row(self, pool: Pool, length: int) -> TokenIds:
        stream = self.streams[pool]
        row = stream.take(length)
        generator = Random(f"{self._seed}/{pool}/{stream.position}")
        if self._filler is None or generator.random() >= self._fill:
            return row
        return self._filler.fill(row, generator)

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on with the batch after the last one."""
        return {
            "positions": {pool: stream.position for pool, stream in self.streams.items()},
            "debts": dict(self._debts),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        for pool, position in state["positions"].items():
            self.streams[pool].position = position
        self._debts = dict(state["debts"])
