"""The KV cache of rows that share one prompt, for models whose attention accepts `Forked` keys and values.

The split into a shared prefix and one tail per row is that of Hydragen (Juravsky et al. 2024, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from transformers.cache_utils import Cache

from codegen_lsp.engine.model.kv_layers import ForkedLayer, bind, move_rows, resized
from codegen_lsp.engine.model.kv_layout import GROWTH, TOKENS, Layout, Piece


class SharedPrompt(Protocol):
    """The store of one row that others share."""

    layout: Layout

    @property
    def length(self) -> int:
        """Number of tokens."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""

    def filled_layers(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the keys and values (1, heads, length, width) of each layer, as views."""

    def copy(self, start: int, stop: int) -> Piece:
        """Return a copy of the keys and values of the tokens from `start` to `stop`."""


class ForkedCache(Cache):
    """Keys and values of rows that share the tokens of one prompt and have a tail each."""

    has_pieces = True

    def __init__(self, prompt: SharedPrompt, rows: int, room: int) -> None:
        """Create `rows` tails with room for `room` tokens; `prompt` must not change afterwards."""
        self.prompt = prompt
        self.rows = rows
        self._layers = [ForkedLayer(keys[0], values[0]) for keys, values in prompt.filled_layers()]
        super().__init__(layers=list(self._layers))
        self._bind([group.empty(rows, room) for group in prompt.layout.groups])

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
        used, room = self.length - self.prompt.length, self._tails[0].shape[4]
        if used + tokens > room:
            room = used + max(tokens, GROWTH, room // 4)
            self._bind(resized(self.prompt.layout, self._tails, (self.rows, self.rows), used, room))

    def expand(self, rows: int, more: int) -> None:
        """Refuse: a forked cache is never forked again."""
        raise NotImplementedError(f"{rows} rows with room for {more} tokens")

    def fork(self, rows: int, more: int) -> ForkedCache:
        """Refuse: a forked cache is never forked again."""
        raise NotImplementedError(f"{rows} rows with room for {more} tokens")

    def append(self, piece: Piece) -> None:
        """Refuse: pieces are put in before rows fork."""
        raise NotImplementedError(f"a piece of {piece[0].shape[TOKENS]} tokens")

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these (ascending indices)."""
        move_rows(self._tails, rows, self.length - self.prompt.length)
        self.rows = len(rows)
        self._bind(self._tails)

    @torch.inference_mode()
    def copy(self, start: int, stop: int) -> Piece:
        """Return a copy of row 0's keys and values of the tokens from `start` to `stop`."""
        border = self.prompt.length
        head = self.prompt.copy(min(start, border), min(stop, border))
        low, high = max(start - border, 0), max(stop - border, 0)
        pairs = zip(self.prompt.layout.groups, self._tails, strict=True)
        tails = (group.piece(tail[:, :, 0, :, low:high]) for group, tail in pairs)
        return tuple(torch.cat(pair, TOKENS) for pair in zip(head, tails, strict=True))

    def _bind(self, tails: list[torch.Tensor]) -> None:
        self._tails = tails
        bind(self._layers, tails, self.rows)
