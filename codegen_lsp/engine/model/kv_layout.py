"""What the KV cache of a model looks like: groups of equal layers, and pieces cut out of them.

Knows tensors. Knows no requests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

Piece = tuple[torch.Tensor, ...]
"""The keys and values of some tokens: a tensor (layers, 2, heads, tokens, width) for each group of layers."""

TOKENS = 3
"""The dimension of a piece's tensors that counts tokens."""

ROOM = 128
"""Number of tokens that decoding allocates room for at first; requests may need more."""

GROWTH = 128
"""Minimum number of tokens by which a full buffer grows."""


@dataclass(frozen=True, slots=True)
class Group:
    """Adjacent layers whose keys and values fit into one tensor."""

    layers: int
    heads: int
    width: int
    dtype: torch.dtype
    """Of the buffers."""
    device: torch.device
    stored: torch.dtype | None = None
    """Of the pieces that are kept, if it differs from `dtype`."""

    @property
    def bytes_per_token(self) -> int:
        """Bytes that the keys and values of one stored token take in these layers."""
        return self.layers * 2 * self.heads * self.width * (self.stored or self.dtype).itemsize

    @property
    def buffer_bytes_per_token(self) -> int:
        """Bytes that the keys and values of one token take in the buffers of these layers."""
        return self.layers * 2 * self.heads * self.width * self.dtype.itemsize

    def empty(self, rows: int, room: int) -> torch.Tensor:
        """Return a buffer (layers, 2, rows, heads, room, width)."""
        dimensions = (self.layers, 2, rows, self.heads, room, self.width)
        return torch.empty(dimensions, dtype=self.dtype, device=self.device)

    def piece(self, part: torch.Tensor) -> torch.Tensor:
        """Return a copy of a part of a buffer, in the dtype in which pieces are stored."""
        return part.to(self.stored or self.dtype, copy=True)


@dataclass(frozen=True, slots=True)
class Layout:
    """The layers of a model's KV cache in order, as groups."""

    groups: tuple[Group, ...]

    @property
    def bytes_per_token(self) -> int:
        """Bytes that the keys and values of one stored token take in all layers."""
        return sum(group.bytes_per_token for group in self.groups)

    @property
    def buffer_bytes_per_token(self) -> int:
        """Bytes that the keys and values of one token take in the buffers of a running request."""
        return sum(group.buffer_bytes_per_token for group in self.groups)

    def computable(self) -> Layout:
        """Return the layout with buffers that attention multiplies without converting them.

        On the processor these are float32, whatever the dtype of the stored pieces is.
        """
        return Layout(
            tuple(
                replace(group, dtype=torch.float32, stored=group.dtype)
                if group.device.type == "cpu"
                else group
                for group in self.groups
            )
        )

    @classmethod
    def of(cls, probe: DynamicCache) -> Layout | None:
        """Return the layout of a cache that a model has filled.

        None for caches that hold more than plain keys and values: sliding windows, recurrent states, keys and values
        of different widths.
        """
        kinds = []
        for layer in probe.layers:
            if type(layer) is not DynamicLayer or layer.keys is None or layer.values is None:
                return None
            keys, values = layer.keys, layer.values
            if keys.shape != values.shape or keys.dtype != values.dtype or keys.ndim != 4:
                return None
            kinds.append((keys.shape[1], keys.shape[3], keys.dtype, keys.device))
        groups = [Group(len(list(same)), *kind) for kind, same in groupby(kinds)]
        return cls(tuple(groups)) if groups else None
