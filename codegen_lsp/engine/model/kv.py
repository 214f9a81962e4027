"""The KV caches of running requests: buffers allocated once, which each forward pass writes into in place.

Knows tensors and the cache interface of transformers. Knows no requests, and of the prefix cache only the form of its
pieces: `copy(start, stop)` cuts one out of row 0, `append(piece)` puts one in.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from transformers import PreTrainedConfig
from transformers.cache_utils import DynamicCache

from codegen_lsp.engine.model.kv_forked import ForkedCache
from codegen_lsp.engine.model.kv_layers import KEYS, VALUES, PlainLayer, copy_tokens, cut
from codegen_lsp.engine.model.kv_layout import TOKENS, Layout, Piece
from codegen_lsp.engine.model.kv_store import BufferCache


class KVCache(BufferCache):
    """Keys and values of `rows` sequences of equal length."""

    def __init__(self, layout: Layout, room: int, rows: int = 1) -> None:
        """Allocate room for `room` tokens in each row; `reserve` makes more."""
        self._tails: list[torch.Tensor] = []
        """Buffers for the tails of a fork, kept for the next one: memory that was used before costs no page faults."""
        self._forked: weakref.ref[ForkedCache] | None = None
        layers = [PlainLayer() for group in layout.groups for _ in range(group.layers)]
        super().__init__(layout, layers, [group.empty(rows, room) for group in layout.groups], rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers, unused room and the tails of the last fork included."""
        return sum(buffer.nbytes for buffer in (*self._buffers, *self._tails))

    def shared_layers(self, length: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the first `length` keys and values (heads, length, width) of row 0 in each layer, as views."""
        pairs = [layer.pair[:, 0, :, :length] for layer in self._layers]
        return [(pair[KEYS], pair[VALUES]) for pair in pairs]

    @torch.inference_mode()
    def repeat(self, rows: int, more: int) -> KVCache:
        """Return a store of `rows` rows that each hold a copy of the only row, with room for `more` tokens."""
        copies = KVCache(self.layout, 0, rows)
        copies._bind(self._resized(rows, self.length + more))
        copies._set_length(self.length)
        return copies

    def fork(self, rows: int, more: int, length: int | None = None) -> ForkedCache:
        """Return a store of `rows` rows that share the first `length` tokens of the only row: by default, all.

        The shared tokens must not change as long as the store is used.
        """
        tails = self._tails_for(rows, more)
        forked = ForkedCache(self, rows, tails, self.length if length is None else length)
        if tails is self._tails:
            self._forked = weakref.ref(forked)
        return forked

    def _tails_for(self, rows: int, room: int) -> list[torch.Tensor]:
        """Return buffers for tails: those of the last fork if it is gone and they are large enough."""
        if self._forked is not None and self._forked() is not None:
            return [group.empty(rows, room) for group in self.layout.groups]
        if not self._tails or self._tails[0].shape[2] < rows or self._tails[0].shape[4] < room:
            self._tails = [group.empty(rows, room) for group in self.layout.groups]
        return self._tails

    def crop(self, length: int) -> None:
        """Drop the tokens from `length` on; a negative number drops that many at the end."""
        self._set_length(length if length >= 0 else self.length + length)
        self.mirrored = min(self.mirrored, self.length)

    @torch.inference_mode()
    def copy_to(self, buffers: Sequence[torch.Tensor], start: int) -> None:
        """Write the keys and values of all rows, from token `start` on, to the same places of other buffers."""
        copy_tokens(self._buffers, buffers, (start, self.length), (start, self.length))

    @torch.inference_mode()
    def take(self, buffers: Sequence[torch.Tensor], tokens: int) -> None:
        """Add the `tokens` tokens that other buffers hold after those of this store."""
        span = self.length, self.length + tokens
        copy_tokens(buffers, self._buffers, span, span)
        self._set_length(span[1])

    @torch.inference_mode()
    def copy(self, start: int, stop: int) -> Piece:
        """Return a copy of row 0's keys and values of the tokens from `start` to `stop`."""
        return cut(self._buffers, start, stop)


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

    def repeat(self, rows: int, more: int) -> GrowingCache:  # noqa: ARG002
        """Repeat the only row `rows` times in place."""
        self.keep([0] * rows)
        return self

    def fork(self, rows: int, more: int, length: int | None = None) -> ForkedCache:
        """Refuse: only plain keys and values can be shared."""
        raise NotImplementedError(f"{rows} rows with room for {more} tokens after {length}")

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        self.cache.reorder_cache(torch.LongTensor(list(rows)))

    def crop(self, length: int) -> None:
        """Refuse: recurrent states can't go back."""
        raise NotImplementedError(f"{length} tokens")

    def append(self, piece: Piece) -> None:
        """Refuse: there are no pieces of this cache."""
        raise NotImplementedError(f"a piece of {piece[0].shape[TOKENS]} tokens")

    def copy(self, start: int, stop: int) -> Piece:
        """Refuse: there are no pieces of this cache."""
        raise NotImplementedError(f"tokens {start} to {stop}")
