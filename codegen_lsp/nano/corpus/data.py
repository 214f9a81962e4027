"""Tokens on disk, and the training rows that are read from them in a reproducible order.

A few integers describe the place in that order, so that a training can be resumed. Knows documents and pools, no
models.
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

from codegen_lsp.nano.corpus.corpus import CorpusDocument, CorpusError, documents
from codegen_lsp.nano.corpus.fill import RowFiller, TokenIds
from codegen_lsp.nano.corpus.pools import Pool
from codegen_lsp.nano.corpus.tokenizer import END_OF_TEXT, load_tokenizer, plain

BLOCK = 2048
"""Number of tokens that stay together when a pool is shuffled, and the maximum length of a row."""

POOLS: tuple[Pool, ...] = get_args(Pool)


def tokenize_corpus(work: Path, tokenizer: Tokenizer, seed: int = 0) -> dict[str, int]:
    """Write `tokens-<pool>.npy` for each pool: its documents, shuffled, each after an end-of-text token.

    The name of a special token in a document is encoded as text.

    Returns:
        The number of tokens of each pool.
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


RowPlace = tuple[Pool, int]
"""A row of a batch: the pool, and the position in its stream."""


@dataclass(slots=True)
class Stream:
    """The endless stream of one pool's tokens, read in shuffled rows.

    Every epoch shuffles the blocks, then the rows within each group of 64 blocks, so that the rows of a batch come
    from many files. `position` counts the tokens read and is the whole state.
    """

    tokens: TokenIds
    seed: tuple[int, ...]
    position: int = 0
    _rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    _group: tuple[int, int, int] = (-1, -1, -1)

    GROUP = 64

    def take(self, length: int) -> TokenIds:
        """Return the next row of length + 1 tokens; its last token is the first one of the text that follows."""
        return self.row(self.advance(length), length)

    def advance(self, length: int) -> int:
        """Pass over the next row of `length` tokens, and return the position where it begins.

        Raises:
            CorpusError: the pool is shorter than one block.
        """
        if len(self.tokens) <= BLOCK:
            raise CorpusError(
                f"a pool requires at least {BLOCK + 1} tokens, this one has {len(self.tokens)}: "
                "build a larger corpus"
            )
        if self.position % length:
            self.position += length - self.position % length
        self.position += length
        return self.position - length

    def row(self, position: int, length: int) -> TokenIds:
        """Return the row of length + 1 tokens at a position that `advance` returned."""
        blocks = (len(self.tokens) - 1) // BLOCK
        epoch, within = divmod(position, blocks * BLOCK)
        group, offset = divmod(within, self.GROUP * BLOCK)
        if self._group != (epoch, group, length):
            self._group = (epoch, group, length)
            order = np.random.default_rng([*self.seed, epoch]).permutation(blocks)[group * self.GROUP :][
                : self.GROUP
            ]
            rows = (order[:, None] * BLOCK + np.arange(0, BLOCK, length)).ravel()
            self._rows = np.random.default_rng([*self.seed, epoch, group]).permutation(rows)
        start = int(self._rows[offset // length])
        return self.tokens[start : start + length + 1]


class Sampler:
    """Batches drawn from the pools in given shares; equal for equal seeds and positions.

    `fill` is the share of rows that become fill-in-the-middle samples.
    """

    def __init__(self, work: Path, seed: int, fill: float = 0.0) -> None:
        self.arguments = (work, seed, fill)
        missing = [pool for pool in POOLS if not (work / f"tokens-{pool}.npy").exists()]
        if missing:
            raise CorpusError(f"no tokens in {work}: run `python -m codegen_lsp.nano tokenizer` first")
        self.streams = {
            pool: Stream(np.load(work / f"tokens-{pool}.npy", mmap_mode="r"), (seed, number))
            for number, pool in enumerate(POOLS)
        }
        self._debts = dict.fromkeys(POOLS, 0.0)
        self._seed, self._fill = seed, fill
        self._filler = RowFiller(load_tokenizer(work / "tokenizer")) if fill else None

    def batch(self, rows: int, length: int, shares: dict[Pool, float]) -> NDArray[np.int64]:
        """Return token ids, (rows, length + 1). Over many batches each pool gets exactly its share of the rows."""
        return self.read(self.places(rows, length, shares), length)

    def places(self, rows: int, length: int, shares: dict[Pool, float]) -> list[RowPlace]:
        """Pass over the next batch, and return where its rows are; `read` reads them, in another process too."""
        places = []
        for _ in range(rows):
            for pool in POOLS:
                self._debts[pool] += shares.get(pool, 0.0)
            pool = max(POOLS, key=self._debts.__getitem__)
            self._debts[pool] -= 1.0
            places.append((pool, self.streams[pool].advance(length)))
        return places

    def read(self, places: list[RowPlace], length: int) -> NDArray[np.int64]:
        """Return the token ids of the rows at some places, (rows, length + 1)."""
        return np.stack([self._row(pool, position, length) for pool, position in places]).astype(np.int64)

    def _row(self, pool: Pool, position: int, length: int) -> TokenIds:
        row = self.streams[pool].row(position, length)
        generator = Random(f"{self._seed}/{pool}/{position + length}")
        if self._filler is None or generator.random() >= self._fill:
            return row
        return self._filler.fill(row, generator)

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to continue with the next batch."""
        return {
            "positions": {pool: stream.position for pool, stream in self.streams.items()},
            "debts": dict(self._debts),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state` returned."""
        for pool, position in state["positions"].items():
            self.streams[pool].position = position
        self._debts = dict(state["debts"])
