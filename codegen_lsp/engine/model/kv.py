"""The KV caches of running requests: buffers allocated once, which each forward pass writes into in place.

Knows tensors and the cache interface of transformers. Knows no requests, and of the prefix cache only the form of its
pieces: `copy(start, stop)` cuts one out of row 0, `append(piece)` puts one in.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache, DynamicCache

from codegen_lsp.engine.model.kv_forked import ForkedCache
from codegen_lsp.engine.model.kv_layers import PlainLayer, bind, move_rows, resized
from codegen_lsp.engine.model.kv_layout import GROWTH, TOKENS, Layout, Piece


class KVCache(Cache):
    """Keys and values of `rows` sequences of equal length."""

    has_pieces = True

    def __init__(self, layout: Layout, room: int, rows: int = 1) -> None:
        """Allocate room for `room` tokens in each row; `reserve` makes more."""
        self.layout = layout
        self.rows = rows
        self._layers = [PlainLayer() for group in layout.groups for _ in range(group.layers)]
        super().__init__(layers=list(self._layers))
        self._bind([group.empty(rows, room) for group in layout.groups])

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
        """Number of tokens that the buffers can hold, for each row."""
        return self._buffers[0].shape[4]

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers, unused room included."""
        return sum(buffer.nbytes for buffer in self._buffers)

    def filled_layers(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the keys and values (rows, heads, length, width) of each layer, as views of the buffers."""
        return [layer.filled() for layer in self._layers]

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` more tokens in each row."""
        if self.length + tokens > self.room:
            self._resize(self.rows, self.length + max(tokens, GROWTH, self.room // 4))

    def expand(self, rows: int, more: int) -> None:
        """Repeat the only row `rows` times, with room for `more` tokens in each."""
        if rows > self.rows or self.length + more > self.room:
            self._resize(rows, self.length + more)

    def fork(self, rows: int, more: int) -> ForkedCache:
        """Return a store of `rows` rows that share the tokens of the only row, which must not change afterwards."""
        return ForkedCache(self, rows, more)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these (ascending indices)."""
        move_rows(self._buffers, rows, self.length)
        self.rows = len(rows)
        self._bind(self._buffers)

    def crop(self, length: int) -> None:
        """Drop the tokens from `length` on; a negative number drops that many at the end."""
        self._set_length(length if length >= 0 else self.length + length)

    @torch.inference_mode()
    def append(self, piece: Piece) -> None:
        """Add the keys and values of more tokens at the end of every row."""
        start, stop = self.length, self.length + piece[0].shape[TOKENS]
        self.reserve(stop - start)
        for buffer, part in zip(self._buffers, piece, strict=True):
            buffer[:, :, :, :, start:stop] = part.unsqueeze(2)
        self._set_length(stop)

    @torch.inference_mode()
    def copy(self, start: int, stop: int) -> Piece:
        """Return a copy of row 0's keys and values of the tokens from `start` to `stop`."""
        pairs = zip(self.layout.groups, self._buffers, strict=True)
        return tuple(group.piece(buffer[:, :, 0, :, start:stop]) for group, buffer in pairs)

    @torch.inference_mode()
    def _resize(self, rows: int, room: int) -> None:
        buffers = resized(self.layout, self._buffers, (self.rows, rows), self.length, room)
        self.rows = rows
        self._bind(buffers)

    def _bind(self, buffers: list[torch.Tensor]) -> None:
        self._buffers = buffers
        bind(self._layers, buffers, self.rows)

    def _set_length(self, length: int) -> None:
        for layer in self._layers:
            layer.length = length


class GrowingCache:
    """The cache of transformers, for architectures that keep more than plain keys and values.

    Sliding windows and recurrent states can't be cut into pieces, so there is no prefix cache for them.
    """

    has_pieces = False

    def __init__(self, config: PreTrainedConfig) -> None:
        self.cache = DynamicCache(config=config)

    @property
    def length(self) -> int:
        """Number of tokens read so far, for each row."""
        return int(self.cache.get_seq_length())

    @property
    def nbytes(self) -> int:
        """Bytes of the keys, values and other states."""
        tensors = (value for layer in self.cache.layers for value in vars(layer).values())
        return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))

    def reserve(self, tokens: int) -> None:
        """Do nothing: the cache grows by itself."""

    def expand(self, rows: int, more: int) -> None:  # noqa: ARG002
        """Repeat the only row `rows` times."""
        if rows > 1:
            self.keep([0] * rows)

    def fork(self, rows: int, more: int) -> ForkedCache:
        """Refuse: only plain keys and values can be shared."""
        raise NotImplementedError(f"{rows} rows with room for {more} tokens")

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        self.cache.reorder_cache(torch.LongTensor(list(rows)))

    def append(self, piece: Piece) -> None:
        """Refuse: there are no pieces of this cache."""
        raise NotImplementedError(f"a piece of {piece[0].shape[TOKENS]} tokens")

    def copy(self, start: int, stop: int) -> Piece:
        """Refuse: there are no pieces of this cache."""
        raise NotImplementedError(f"tokens {start} to {stop}")
