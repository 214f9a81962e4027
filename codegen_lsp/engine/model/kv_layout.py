"""What the KV cache of a model looks like: groups of equal layers, and pieces cut out of them.

Knows tensors. Knows no requests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer


@dataclass(frozen=True, slots=True)
class Group:
    """Adjacent layers whose keys and values fit into one tensor."""

    layers: int
    heads: int
    width: int
    dtype: torch.dtype
    device: torch.device

    @property
    def bytes_per_token(self) -> int:
        """Bytes that the keys and values of one token take in these layers."""
        return self.layers * 2 * self.heads * self.width * self.dtype.itemsize

    def empty(self, rows: int, room: int) -> torch.Tensor:
        """Return a buffer (layers, 2, rows, heads, room, width)."""
        dimensions = (self.layers, 2, rows, self.heads, room, self.width)
        return torch.empty(dimensions, dtype=self.dtype, device=self.device)


@dataclass(frozen=True, slots=True)
class Layout:
    """The layers of a model's KV cache in order, as groups."""

    groups: tuple[Group, ...]

    @property
    def bytes_per_token(self) -> int:
        """Bytes that the keys and values of one token take in all layers."""
        return sum(group.bytes_per_token for group in self.groups)

    def in_dtype(self, dtype: torch.dtype) -> Layout:
        """Return the layout of the same keys and values in a dtype."""
        return Layout(tuple(replace(group, dtype=dtype) for group in self.groups))

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


Piece = tuple[torch.Tensor, ...]
"""The keys and values of some tokens: a tensor (layers, 2, heads, tokens, width) for each group of layers."""

TOKENS = 3
"""The dimension of a piece's tensors that counts tokens."""

ROOM = 128
"""Number of tokens that decoding allocates room for at first; requests may need more."""

GROWTH = 128
"""Minimum number of tokens by which a full buffer grows."""
