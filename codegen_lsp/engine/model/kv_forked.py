"""The KV cache of rows that share one prompt, for models whose attention accepts `Forked` keys and values.

The split into a shared prefix and one tail per row is that of Hydragen (Juravsky et al. 2024, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from codegen_lsp.engine.model.kv_layers import ForkedLayer, copy_tokens, cut, write
from codegen_lsp.engine.model.kv_layout import TOKENS, Layout, Piece
from codegen_lsp.engine.model.kv_store import BufferCache


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


class ForkedCache(BufferCache):
    """Keys and values of rows that share the tokens of one prompt, and have a tail each in the cache's own buffers."""

    def __init__(self, prompt: SharedPrompt, rows: int, tails: Sequence[torch.Tensor], border: int) -> None:
        """Put the tails of `rows` rows into buffers; the first `border` tokens of `prompt` must not change."""
        self.prompt = prompt
        self.border = border
        layers = [ForkedLayer(keys, values) for keys, values in prompt.shared_layers(border)]
        super().__init__(prompt.layout, layers, list(tails), rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the prompt and of all tails."""
        return self.prompt.nbytes + sum(tail.nbytes for tail in self._buffers)

    @torch.inference_mode()
    def fork(self, rows: int, more: int, length: int | None = None) -> ForkedCache:
        """Return a store of `rows` rows that share the same prompt, with copies of the only row's tail."""
        assert length is None or length == self.length
        tails = self._resized(rows, self.held + more)
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

    @torch.inference_mode()
    def copy_to(self, buffers: Sequence[torch.Tensor], start: int) -> None:
        """Write the keys and values of all rows, from token `start` on, to the same places of other buffers."""
        if start < self.border:
            write(buffers, self.prompt.copy(start, self.border), start)
        first = max(start, self.border)
        tail = first - self.border, self.length - self.border
        copy_tokens(self._buffers, buffers, tail, (first, self.length))

    @torch.inference_mode()
    def take(self, buffers: Sequence[torch.Tensor], tokens: int) -> None:
        """Add the `tokens` tokens that other buffers hold after those of this store."""
        start = self.length
        tail = start - self.border
        copy_tokens(buffers, self._buffers, (start, start + tokens), (tail, tail + tokens))
        self._set_length(start + tokens)

    @torch.inference_mode()
    def copy(self, start: int, stop: int) -> Piece:
        """Return a copy of row 0's keys and values of the tokens from `start` to `stop`."""
        border = self.border
        head = self.prompt.copy(min(start, border), min(stop, border))
        low, high = max(start - border, 0), max(stop - border, 0)
        tail = cut(self._buffers, low, high)
        return tuple(torch.cat(pair, TOKENS) for pair in zip(head, tail, strict=True))
