"""The interface of every KV cache of a running request, and what those with buffers of their own share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from transformers.cache_utils import Cache

from codegen_lsp.engine.model.kv_layers import BufferLayer, bind, move_rows, resized, write
from codegen_lsp.engine.model.kv_layout import GROWTH, TOKENS, Layout, Piece


class KVStore(Protocol):
    """The keys and values of the rows of one request.

    Stores that can't be cut into pieces (`has_pieces` is false) refuse `append`, `copy` and `fork`.
    """

    has_pieces: bool
    """Whether pieces can be cut out and put in again, so that a prefix cache can keep them."""

    @property
    def cache(self) -> Cache:
        """The store in the form that transformers expects."""

    @property
    def length(self) -> int:
        """Number of tokens read so far, for each row."""

    @property
    def nbytes(self) -> int:
        """Bytes held, unused room included."""

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` more tokens in each row."""

    def repeat(self, rows: int, more: int) -> KVStore:
        """Return a store of `rows` rows that each hold a copy of the only row, with room for `more` tokens."""

    def fork(self, rows: int, more: int, length: int | None = None) -> KVStore:
        """Return a store of `rows` rows that share the first `length` tokens of the only row, with room for `more`."""

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these (ascending indices)."""

    def crop(self, length: int) -> None:
        """Drop the tokens from `length` on."""

    def append(self, piece: Piece) -> None:
        """Add the keys and values of more tokens at the end of every row."""

    def copy(self, start: int, stop: int) -> Piece:
        """Return a copy of row 0's keys and values of the tokens from `start` to `stop`."""


class BufferCache(Cache):
    """Keys and values of rows of equal length, in buffers of the cache's own that its layers are views of."""

    has_pieces = True

    def __init__(
        self, layout: Layout, layers: Sequence[BufferLayer], buffers: Sequence[torch.Tensor], rows: int
    ) -> None:
        """Give each layer its part of the buffers, which have places for `rows` rows or more."""
        self.layout = layout
        self.rows = rows
        self.mirrored = 0
        """Number of tokens of all rows that the buffers of replayed steps have a copy of."""
        self.place: object = None
        """Stands for the buffers' addresses and layout: another object after each change of these."""
        self._layers = list(layers)
        super().__init__(layers=list(self._layers))
        self._bind(buffers)

    @property
    def cache(self) -> Cache:
        """The store in the form that transformers expects."""
        return self

    @property
    def length(self) -> int:
        """Number of tokens that are filled, for each row."""
        return self._layers[-1].length

    @property
    def room(self) -> int:
        """Number of tokens that the cache's own buffers can hold, for each row."""
        return self._buffers[0].shape[4]

    @property
    def held(self) -> int:
        """Number of tokens that the cache's own buffers hold, for each row."""
        return self.length - self._layers[-1].shared_length

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` more tokens in each row."""
        if self.held + tokens > self.room:
            self._grow(tokens)

    @torch.inference_mode()
    def _grow(self, tokens: int) -> None:
        self._bind(self._resized(self.rows, self.held + max(tokens, GROWTH, self.room // 4)))

    def append(self, piece: Piece) -> None:
        """Add the keys and values of more tokens at the end of every row."""
        self.reserve(count := piece[0].shape[TOKENS])
        write(self._buffers, piece, self.held)
        self._set_length(self.length + count)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these (ascending indices)."""
        move_rows(self._buffers, rows, self.held)
        self.rows, self.mirrored = len(rows), 0
        self._bind(self._buffers)

    def _resized(self, rows: int, room: int) -> list[torch.Tensor]:
        return resized(self.layout, self._buffers, (self.rows, rows), self.held, room)

    def _set_length(self, length: int) -> None:
        for layer in self._layers:
            layer.length = length

    def _bind(self, buffers: Sequence[torch.Tensor]) -> None:
        self._buffers = buffers
        self.place = object()
        bind(self._layers, buffers, self.rows)
