"""The KV cache of one running request: buffers made once, which each forward pass writes into in place.

Knows tensors and the cache interface of transformers. Knows no requests, and nothing of the prefix cache but
the form of its pieces: `copy(start, stop)` cuts one out of row 0, `append(piece)` puts one in.

transformers' own `DynamicCache` joins old and new keys into a new tensor in each layer at each step, so that a
step of decoding copies the whole context; `StaticCache` attends to its unused end. Here a step writes its own
keys and values only, and attention sees exactly what is filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

Piece = tuple[torch.Tensor, ...]
"""The keys and values of some tokens: for each group of layers a tensor (layers, 2, heads, tokens, width)."""

GROWTH = 128
"""Tokens of room that a full buffer grows by at least."""


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring layers whose keys and values fit into one tensor."""

    layers: int
    heads: int
    width: int
    dtype: torch.dtype
    """Of the buffers."""
    device: torch.device
    stored: torch.dtype | None = None
    """Of the pieces that are kept, where it is another one."""

    @property
    def bytes_per_token(self) -> int:
        """Bytes that the keys and values of one kept token take in these layers."""
        return self.layers * 2 * self.heads * self.width * (self.stored or self.dtype).itemsize

    def empty(self, rows: int, room: int) -> torch.Tensor:
        """A buffer of shape (layers, 2, rows, heads, room, width)."""
        shape = (self.layers, 2, rows, self.heads, room, self.width)
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    def piece(self, part: torch.Tensor) -> torch.Tensor:
        """A part of a buffer in memory of its own, as it is kept."""
        return part.to(self.stored or self.dtype, copy=True)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the KV cache of a model looks like: its layers in order, as groups."""

    groups: tuple[Group, ...]

    @property
    def bytes_per_token(self) -> int:
        """Bytes that the keys and values of one kept token take in all layers."""
        return sum(group.bytes_per_token for group in self.groups)

    def computable(self) -> Layout:
        """The layout with buffers that are multiplied as they are: on the processor in float32, whatever the pieces
        are kept in. To convert the whole context in each layer at each step would take longer than all the rest."""
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
        """The layout that a model filled `probe` with; None where it can't be kept as plain keys and values
        (sliding windows, recurrent states, keys and values of different widths)."""
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


class _Layer(CacheLayerMixin):
    """One layer's part of the buffers, in the form in which transformers asks for it."""

    is_sliding = False
    is_croppable = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_initialized = True
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing to do: the buffers are made with the cache."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (rows, heads, t, width) behind what is there; gives all of it as views of the buffers."""
        assert self.keys is not None
        assert self.values is not None
        start, stop = self.length, self.length + key_states.shape[2]
        self.keys[:, :, start:stop] = key_states
        self.values[:, :, start:stop] = value_states
        self.length = stop
        return self.filled()

    def filled(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (rows, heads, length, width) as views of the buffers."""
        assert self.keys is not None
        assert self.values is not None
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys that the next forward pass attends to, and the position of the first of them."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens that are filled."""
        return self.length

    def get_max_length(self) -> int:
        """No maximum: the cache makes room."""
        return -1


class KVCache(Cache):
    """Keys and values of `rows` sequences of equal length."""

    def __init__(self, layout: Layout, room: int, rows: int = 1) -> None:
        """Room for `room` tokens; `reserve` makes more."""
        self.layout = layout
        self.rows = rows
        self._layers = [_Layer() for group in layout.groups for _ in range(group.layers)]
        super().__init__(layers=list(self._layers))
        self._bind([group.empty(rows, room) for group in layout.groups])

    @property
    def cache(self) -> Cache:
        """The form in which transformers takes it."""
        return self

    @property
    def plain_layers(self) -> Sequence[_Layer]:
        """The layers in order."""
        return self._layers

    @property
    def length(self) -> int:
        """Tokens that are filled, a row."""
        return self._layers[-1].length

    @property
    def room(self) -> int:
        """Tokens that the buffers hold, a row."""
        return self._buffers[0].shape[4]

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers, the unused room included."""
        return sum(buffer.nbytes for buffer in self._buffers)

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` more."""
        if self.length + tokens > self.room:
            self._resize(self.rows, self.length + max(tokens, GROWTH, self.room // 4))

    def expand(self, rows: int, more: int) -> None:
        """Repeat the only row `rows` times, with room for `more` tokens."""
        if rows > self.rows or self.length + more > self.room:
            self._resize(rows, self.length + more)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone, in this (ascending) order."""
        for target, source in enumerate(rows):
            if target != source:
                for buffer in self._buffers:
                    buffer[:, :, target, :, : self.length] = buffer[:, :, source, :, : self.length]
        self.rows = len(rows)
        self._bind(self._buffers)

    def crop(self, length: int) -> None:
        """Forget the tokens from `length` on (a negative number: that many from the end)."""
        self._set_length(length if length >= 0 else self.length + length)

    @torch.inference_mode()
    def append(self, piece: Piece) -> None:
        """Put the keys and values of more tokens behind what is there, in every row."""
        start, stop = self.length, self.length + piece[0].shape[3]
        self.reserve(stop - start)
        for buffer, part in zip(self._buffers, piece, strict=True):
            buffer[:, :, :, :, start:stop] = part.unsqueeze(2)
        self._set_length(stop)

    @torch.inference_mode()
    def copy(self, start: int, stop: int) -> Piece:
        """Row 0's keys and values of the tokens `start` to `stop`, in memory of their own."""
        pairs = zip(self.layout.groups, self._buffers, strict=True)
        return tuple(group.piece(buffer[:, :, 0, :, start:stop]) for group, buffer in pairs)

    @torch.inference_mode()
    def _resize(self, rows: int, room: int) -> None:
        buffers = []
        for group, old in zip(self.layout.groups, self._buffers, strict=True):
            new = group.empty(rows, room)
            new[:, :, :, :, : self.length] = old[:, :, : self.rows, :, : self.length]
            buffers.append(new)
        self.rows = rows
        self._bind(buffers)

    def _bind(self, buffers: list[torch.Tensor]) -> None:
        self._buffers = buffers
        layers = iter(self._layers)
        for buffer in buffers:
            for index in range(buffer.shape[0]):
                layer = next(layers)
                layer.keys, layer.values = buffer[index, 0, : self.rows], buffer[index, 1, : self.rows]

    def _set_length(self, length: int) -> None:
        for layer in self._layers:
            layer.length = length


@dataclass(frozen=True, slots=True)
class Forked:
    """Keys, or values, of rows that part from one prompt."""

    shared: torch.Tensor
    """(heads, prompt, width), of all rows."""
    tails: torch.Tensor
    """(rows, heads, new, width), of each row."""


class _ForkedLayer(CacheLayerMixin):
    """One layer of a forked cache."""

    is_sliding = False
    is_croppable = False

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_initialized = True
        self.shared = keys, values
        self.prompt = keys.shape[1]
        self.length = self.prompt

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing to do: the buffers are made with the cache."""

    def update(  # type: ignore[override]
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[Forked, Forked]:
        """Write (rows, heads, t, width) behind what is there; gives all of it."""
        assert self.keys is not None
        assert self.values is not None
        start, stop = self.length - self.prompt, self.length - self.prompt + key_states.shape[2]
        self.keys[:, :, start:stop] = key_states
        self.values[:, :, start:stop] = value_states
        self.length = self.prompt + stop
        keys, values = self.shared
        return Forked(keys, self.keys[:, :, :stop]), Forked(values, self.values[:, :, :stop])

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys that the next forward pass attends to, and the position of the first of them."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens that are filled."""
        return self.length

    def get_max_length(self) -> int:
        """No maximum: the cache makes room."""
        return -1


class ForkedCache(Cache):
    """Rows that go on from one prompt: its keys and values stay where they are, for all of them; each row has a
    tail of its own. For models whose attention takes `Forked`."""

    def __init__(self, prompt: KVCache, rows: int, room: int) -> None:
        """`rows` tails with room for `room` tokens; `prompt` must not change any more."""
        self.prompt = prompt
        self.rows = rows
        self._layers = [
            _ForkedLayer(keys[0], values[0])
            for keys, values in (layer.filled() for layer in prompt.plain_layers)
        ]
        super().__init__(layers=list(self._layers))
        self._bind([group.empty(rows, room) for group in prompt.layout.groups])

    @property
    def cache(self) -> Cache:
        """The form in which transformers takes it."""
        return self

    @property
    def length(self) -> int:
        """Tokens that are filled, a row."""
        return self._layers[-1].length

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` more."""
        used, room = self.length - self.prompt.length, self._tails[0].shape[4]
        if used + tokens > room:
            self._resize(used, used + max(tokens, GROWTH, room // 4))

    def expand(self, rows: int, more: int) -> None:
        """A forked cache is not forked again."""
        raise NotImplementedError(f"{rows} rows with room for {more} tokens")

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone, in this (ascending) order."""
        used = self.length - self.prompt.length
        for target, source in enumerate(rows):
            if target != source:
                for tail in self._tails:
                    tail[:, :, target, :, :used] = tail[:, :, source, :, :used]
        self.rows = len(rows)
        self._bind(self._tails)

    @torch.inference_mode()
    def copy(self, start: int, stop: int) -> Piece:
        """Row 0's keys and values of the tokens `start` to `stop`, in memory of their own."""
        border = self.prompt.length
        head = self.prompt.copy(min(start, border), min(stop, border))
        low, high = max(start - border, 0), max(stop - border, 0)
        pairs = zip(self.prompt.layout.groups, self._tails, strict=True)
        tails = (group.piece(tail[:, :, 0, :, low:high]) for group, tail in pairs)
        return tuple(torch.cat(pair, 3) for pair in zip(head, tails, strict=True))

    @torch.inference_mode()
    def _resize(self, used: int, room: int) -> None:
        tails = []
        for group, old in zip(self.prompt.layout.groups, self._tails, strict=True):
            new = group.empty(self.rows, room)
            new[:, :, :, :, :used] = old[:, :, : self.rows, :, :used]
            tails.append(new)
        self._bind(tails)

    def _bind(self, tails: list[torch.Tensor]) -> None:
        self._tails = tails
        layers = iter(self._layers)
        for tail in tails:
            for index in range(tail.shape[0]):
                layer = next(layers)
                layer.keys, layer.values = tail[index, 0, : self.rows], tail[index, 1, : self.rows]


class GrowingCache:
    """The cache of transformers behind the same methods, for architectures that keep more than plain keys and
    values (sliding windows, recurrent states). It can't be cut into pieces, so there is no prefix cache."""

    def __init__(self, config: PreTrainedConfig) -> None:
        self.cache = DynamicCache(config=config)

    @property
    def length(self) -> int:
        """Tokens that were read, a row."""
        return int(self.cache.get_seq_length())

    def reserve(self, tokens: int) -> None:
        """Nothing to do: it grows by itself."""

    def expand(self, rows: int, more: int) -> None:  # noqa: ARG002
        """Repeat the only row."""
        if rows > 1:
            self.keep([0] * rows)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        self.cache.reorder_cache(torch.LongTensor(list(rows)))


Store = KVCache | ForkedCache | GrowingCache
"""The KV cache of a request."""
