"""One layer's part of a KV cache, in the form that transformers expects.

transformers' own `DynamicCache` concatenates old and new keys into a new tensor in each layer at each step, so that
decoding one token copies the whole context; `StaticCache` attends to its unused end. Here a step writes only its own
keys and values, and attention sees exactly the part that is filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers.cache_utils import CacheLayerMixin

from codegen_lsp.engine.model.kv_layout import TOKENS, Layout, Piece

VALUES, KEYS = 0, 1
"""The places of values and keys in a buffer, in the order in which CodeGen's projection gives them."""


class BufferLayer(CacheLayerMixin):
    """A layer whose keys and values are views of a buffer that the cache owns."""

    is_sliding = False
    length: int
    pair: torch.Tensor
    """Values and keys (2, rows, heads, room, width)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: the cache allocates the buffers."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of keys that the next forward pass attends to, and the position of the first."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Return the number of tokens that are filled."""
        return self.length

    def get_max_length(self) -> int:
        """Return -1, for no maximum: the cache makes room."""
        return -1

    @property
    def shared_length(self) -> int:
        """Number of tokens that are not in this layer's own buffer."""
        return 0

    def put(self, states: torch.Tensor) -> None:
        """Add values and keys (2, rows, chunks, heads of a chunk, t, width) at the end."""
        start = self.length - self.shared_length
        target = self.pair[:, :, :, start : start + states.shape[4]]
        target.view(states.shape).copy_(states)
        self.length += states.shape[4]

    def _write(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Add (rows, heads, t, width) at the end."""
        start = self.length - self.shared_length
        stop = start + keys.shape[2]
        self.pair[KEYS, :, :, start:stop] = keys
        self.pair[VALUES, :, :, start:stop] = values
        self.length += keys.shape[2]


class PlainLayer(BufferLayer):
    """A layer of rows that each hold all of their tokens."""

    is_croppable = True

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add (rows, heads, t, width) at the end; return everything that is filled, as views of the buffers."""
        self._write(key_states, value_states)
        return self.filled()

    def filled(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values (rows, heads, length, width) as views of the buffers."""
        filled = self.pair[:, :, :, : self.length]
        return filled[KEYS], filled[VALUES]


@dataclass(frozen=True, slots=True)
class Forked:
    """The keys, or the values, of rows that share one prompt."""

    shared: torch.Tensor
    """(heads, prompt, width): the prompt, the same for all rows."""
    tails: torch.Tensor
    """(rows, heads, new, width): what each row has read since."""


class ForkedLayer(BufferLayer):
    """A layer of rows that share one prompt."""

    is_croppable = False

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Share keys and values (heads, prompt, width)."""
        super().__init__()
        self.shared = keys, values
        self.prompt = keys.shape[1]
        self.length = self.prompt

    @property
    def shared_length(self) -> int:
        """Number of tokens of the prompt."""
        return self.prompt

    def update(  # type: ignore[override]
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[Forked, Forked]:
        """Add (rows, heads, t, width) at the end of the tails; return everything that is filled."""
        self._write(key_states, value_states)
        return self.filled()

    def filled(self) -> tuple[Forked, Forked]:
        """Return keys and values, as views of the buffers."""
        keys, values = self.shared
        tails = self.pair[:, :, :, : self.length - self.prompt]
        return Forked(keys, tails[KEYS]), Forked(values, tails[VALUES])


def bind(layers: Sequence[BufferLayer], buffers: Sequence[torch.Tensor], rows: int) -> None:
    """Give each layer its views of the first `rows` rows of the buffers (layers, 2, rows, heads, room, width)."""
    remaining = iter(layers)
    for buffer in buffers:
        for pair in buffer[:, :, :rows]:
            layer = next(remaining)
            layer.pair, layer.keys, layer.values = pair, pair[KEYS], pair[VALUES]


def move_rows(buffers: Sequence[torch.Tensor], rows: Sequence[int], length: int) -> None:
    """Move these rows (ascending indices) to the front of the buffers, the first `length` tokens of each."""
    for target, source in enumerate(rows):
        if target != source:
            for buffer in buffers:
                buffer[:, :, target, :, :length] = buffer[:, :, source, :, :length]


def resized(
    layout: Layout, buffers: Sequence[torch.Tensor], rows: tuple[int, int], length: int, room: int
) -> list[torch.Tensor]:
    """Return buffers with room for `room` tokens that hold the first `length` tokens of the old ones.

    `rows` are the number of rows before and after; a single row is repeated.
    """
    before, after = rows
    grown = []
    for group, old in zip(layout.groups, buffers, strict=True):
        new = group.empty(after, room)
        new[:, :, :, :, :length] = old[:, :, :before, :, :length]
        grown.append(new)
    return grown


@torch.inference_mode()
def write(buffers: Sequence[torch.Tensor], piece: Piece, start: int) -> None:
    """Write a piece into every row of the buffers, from token `start` on."""
    stop = start + piece[0].shape[TOKENS]
    for buffer, part in zip(buffers, piece, strict=True):
        buffer[:, :, :, :, start:stop] = part.unsqueeze(2)


def copy_tokens(
    sources: Sequence[torch.Tensor],
    targets: Sequence[torch.Tensor],
    source: tuple[int, int],
    target: tuple[int, int],
) -> None:
    """Copy tokens (a beginning and an end) of every row that both lists of buffers have to a place in the others."""
    for old, new in zip(sources, targets, strict=True):
        rows = min(old.shape[2], new.shape[2])
        new[:, :, :rows, :, slice(*target)] = old[:, :, :rows, :, slice(*source)]


@torch.inference_mode()
def cut(buffers: Sequence[torch.Tensor], start: int, stop: int) -> Piece:
    """Return a copy of row 0's keys and values of the tokens from `start` to `stop`."""
    return tuple(buffer[:, :, 0, :, start:stop].clone() for buffer in buffers)
