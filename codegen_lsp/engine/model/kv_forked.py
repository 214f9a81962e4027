"""The KV cache of rows that share one prompt, for models whose attention accepts `Forked` keys and values.

The split into a shared prefix and one tail per row is that of Hydragen (Juravsky et al. 2024, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from transformers.cache_utils import Cache

from codegen_lsp.engine.model.kv_layers import ForkedLayer, bind, copy_tokens, cut, move_rows, resized, write
from codegen_lsp.engine.model.kv_layout import GROWTH, TOKENS, Layout, Piece


class SharedPrompt(Protocol):
    """The store of one row that others share."""

    layout: Layout

    @property
    def nbytes(self) -> int:
        """Bytes held."""

    def shared_layers(self, length: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the first `length` keys and values (heads, length, width) of row 0 in each layer, as views."""

    def copy(self, start: int, stop: int) -> Piece:
        """Return a copy of the keys and values of the tokens from `start` to `stop`."""


class ForkedCache(Cache):
    """Keys and values of rows that share the tokens of one prompt and have a tail each."""

    has_pieces = True

    def __init__(self, prompt: SharedPrompt, rows: int, tails: Sequence[torch.Tensor], border: int) -> None:
        """Put the tails of `rows` rows into buffers; the first `border` tokens of `prompt` must not change."""
        self.prompt = prompt
        self.border = border
        self.rows = rows
        self.mirrored = 0
        """Number of tokens of all rows that the buffers of replayed steps have a copy of."""
        self._layers = [ForkedLayer(keys, values) for keys, values in prompt.shared_layers(border)]
        super().__init__(layers=list(self._layers))
        self._bind(list(tails))

    @property
    def cache(self) -> Cache:
        """The store in the form that transformers expects."""
        return self

    @property
    def length(self) -> int:
        """Number of tokens that are filled, for each row."""
        return self._layers[-1].length

    @property
    def nbytes(self) -> int:
        """Bytes of the prompt and of all tails."""
        return self.prompt.nbytes + sum(tail.nbytes for tail in self._tails)

    @torch.inference_mode()
    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` more tokens in each row."""
        used, room = self.length - self.border, self._tails[0].shape[4]
        if used + tokens > room:
            self._bind(self._resized(self.rows, used + max(tokens, GROWTH, room // 4)))

    @torch.inference_mode()
    def fork(self, rows: int, more: int, length: int | None = None) -> ForkedCache:
        """Return a store of `rows` rows that share the same prompt, with copies of the only row's tail."""
        assert length is None or length == self.length
        tails = self._resized(rows, self.length - self.border + more)
        forked = ForkedCache(self.prompt, rows, tails, self.border)
        forked.crop(self.length)
        return forked

    def repeat(self, rows: int, more: int) -> ForkedCache:
        """Return a store of `rows` rows, as `fork` does."""
        return self.fork(rows, more)

    def crop(self, length: int) -> None:
        """Drop the tokens from `length` on, which must be after the shared ones."""
        assert length >= self.border
        self._set_length(length)
        self.mirrored = min(self.mirrored, length)

    def append(self, piece: Piece) -> None:
        """Add the keys and values of more tokens at the end of every row."""
        self.reserve(count := piece[0].shape[TOKENS])
        start = self.length - self.border
        write(self._tails, piece, start)
        self._set_length(self.length + count)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these (ascending indices)."""
        move_rows(self._tails, rows, self.length - self.border)
        self.rows, self.mirrored = len(rows), 0
        self._bind(self._tails)

    @torch.inference_mode()
    def copy_to(self, buffers: Sequence[torch.Tensor], start: int) -> None:
        """Write the keys and values of all rows, from token `start` on, to the same places of other buffers."""
        if start < self.border:
            write(buffers, self.prompt.copy(start, self.border), start)
        first = max(start, self.border)
        tail = first - self.border, self.length - self.border
        copy_tokens(self._tails, buffers, tail, (first, self.length))

    @torch.inference_mode()
    def take(self, buffers: Sequence[torch.Tensor], tokens: int) -> None:
        """Add the `tokens` tokens that other buffers hold after those of this store."""
        start = self.length
        tail = start - self.border
        copy_tokens(buffers, self._tails, (start, start + tokens), (tail, tail + tokens))
        self._set_length(start + tokens)

    @torch.inference_mode()
    def copy(self, start: int, stop: int) -> Piece:
        """Return a copy of row 0's keys and values of the tokens from `start` to `stop`."""
        border = self.border
        head = self.prompt.copy(min(start, border), min(stop, border))
        low, high = max(start - border, 0), max(stop - border, 0)
        tail = cut(self._tails, low, high)
        return tuple(torch.cat(pair, TOKENS) for pair in zip(head, tail, strict=True))

    def _resized(self, rows: int, room: int) -> list[torch.Tensor]:
        used = self.length - self.border
        return resized(self.prompt.layout, self._tails, (self.rows, rows), used, room)

    def _set_length(self, length: int) -> None:
        for layer in self._layers:
            layer.length = length

    def _bind(self, tails: list[torch.Tensor]) -> None:
        self._tails = tails
        bind(self._layers, tails, self.rows)
