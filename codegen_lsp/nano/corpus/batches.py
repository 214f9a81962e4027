"""Batches read ahead by other processes, in the order in which a sampler alone would read them.

Cutting rows into fill-in-the-middle samples takes a processor longer than a GPU needs for a step. Knows the places of
a sampler, not what is in a row.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen_lsp.nano.corpus.data import RowPlace, Sampler
from codegen_lsp.nano.corpus.pools import Pool

AHEAD = 3
"""Number of batches that each process has before it."""

BatchKind = tuple[int, int, dict[Pool, float]]
"""Number of rows, their length, and the shares of the pools."""

_reader: list[Sampler] = []
"""The sampler of a reading process."""


def _begin(work: Path, seed: int, fill: float) -> None:
    _reader.append(Sampler(work, seed, fill))


def _read(places: list[RowPlace], length: int) -> NDArray[np.int64]:
    return _reader[0].read(places, length)


class Batches:
    """The batches of a sampler; `workers` processes read ahead, none reads in this process.

    Both give the same batches. Batches of another kind than the one asked for are forgotten and begun again, so the
    order holds where a stage of a training ends.
    """

    def __init__(self, sampler: Sampler, workers: int = 0) -> None:
        self._sampler = sampler
        self._capacity = workers * AHEAD
        self._queue: deque[tuple[dict[str, Any], BatchKind, Future[NDArray[np.int64]]]] = deque()
        self._pool = (
            ProcessPoolExecutor(
                workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=sampler.arguments
            )
            if workers
            else None
        )

    def next(self, rows: int, length: int, shares: dict[Pool, float]) -> NDArray[np.int64]:
        """Return the token ids of the next batch, (rows, length + 1)."""
        kind = (rows, length, shares)
        if self._pool is None:
            return self._sampler.batch(*kind)
        if self._queue and self._queue[0][1] != kind:
            self._forget()
        while len(self._queue) <= self._capacity:
            state = self._sampler.state()
            future = self._pool.submit(_read, self._sampler.places(*kind), length)
            self._queue.append((state, kind, future))
        return self._queue.popleft()[2].result()

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to continue with the next batch."""
        return self._queue[0][0] if self._queue else self._sampler.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state` returned."""
        self._forget()
        self._sampler.restore(state)

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _forget(self) -> None:
        """Go back to the first batch that was not asked for."""
        state = self.state()
        for _, _, future in self._queue:
            future.cancel()
        self._queue.clear()
        self._sampler.restore(state)
