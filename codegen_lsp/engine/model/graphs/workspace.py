"""Keys and values of the rows that take part in a step, at fixed addresses.

A row's keys and values live in the KV cache of its request, wherever that is. A step needs them at places that never
move, so they are copied here, and what a step adds is copied back. As long as a request comes back to the same rows,
only what is new since then is copied: nothing for a step that follows another one, or for a keystroke.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch

from codegen_lsp.engine.model.kv import KVCache
from codegen_lsp.engine.model.kv_forked import ForkedCache
from codegen_lsp.engine.model.kv_layout import Layout

Store = KVCache | ForkedCache


class RowBuffers:
    """Buffers for `rows` rows of `room` tokens, and which rows of which KV caches they hold."""

    def __init__(self, layout: Layout, rows: int, room: int) -> None:
        self.rows = rows
        self.room = room
        # Attention gives what is not filled yet a weight of 0, and 0 times what memory happens to hold may not be 0.
        self._buffers = [group.empty(rows, room).zero_() for group in layout.groups]
        self._places: list[tuple[weakref.ref[Store], int] | None] = [None] * rows
        self.layers = [pair for buffer in self._buffers for pair in buffer]
        """Values and keys (2, rows, heads, room, width) of each layer."""

    def bring(self, stores: Sequence[Store], padded: int) -> None:
        """Hold the rows of these stores, one after the other; further rows up to `padded` may be overwritten."""
        held, start = [*self._places], 0
        self._places = [
            None if index < padded or place is None or place[0]() in stores else place
            for index, place in enumerate(held)
        ]
        for store in stores:
            rows = range(store.rows)
            if any(not _is(held[start + row], store, row) for row in rows):
                store.mirrored = 0
            for row in rows:
                self._places[start + row] = weakref.ref(store), row
            if store.mirrored < store.length:
                store.copy_to(self._rows(start, store.rows), store.mirrored)
                store.mirrored = store.length
            start += store.rows

    def give(self, stores: Sequence[Store], tokens: Sequence[int]) -> None:
        """Let each store take the tokens that a step has added to its rows."""
        start = 0
        for store, count in zip(stores, tokens, strict=True):
            store.take(self._rows(start, store.rows), count)
            store.mirrored = store.length
            start += store.rows

    def _rows(self, start: int, count: int) -> list[torch.Tensor]:
        return [buffer[:, :, start : start + count] for buffer in self._buffers]


def _is(place: tuple[weakref.ref[Store], int] | None, store: Store, row: int) -> bool:
    return place is not None and place[0]() is store and place[1] == row
