"""Buffers of recent prompts that stay alive, so that a keystroke continues one in place and copies nothing.

A document's prompts follow each other closely: most of the next one is what its buffer already holds. A request takes
the buffer that begins most like its prompt, drops the tokens in which they differ and reads on. While it runs the
buffer is on loan: other requests may share the beginning of it, and nothing drops that part.

Whatever a buffer holds is in the radix tree of the prefix cache as well, so a buffer can be dropped at any time. It
costs time only: the next request for that document copies its prefix once.

Knows token ids and KV caches. Knows no models and no requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from codegen_lsp.engine.model.kv import KVCache
from codegen_lsp.engine.model.kv_layout import ROOM
from codegen_lsp.engine.model.kv_store import KVStore

MAX_BUFFERS = 4
"""Maximum number of buffers: documents that a user types in by turns."""

SMALL = 64
"""Number of tokens that a buffer may lose, even if it shares fewer with the new prompt."""


class BufferSource(Protocol):
    """What makes KV caches: the model."""

    @property
    def forks(self) -> bool:
        """Whether a request can share the beginning of a buffer that another one writes into."""

    def new_cache(self, room: int) -> KVStore:
        """Return an empty KV cache for one row, with room for `room` tokens."""


@dataclass(eq=False, slots=True)
class _Buffer:
    kv: KVCache
    namespace: str
    tokens: tuple[int, ...] = ()
    """The tokens whose keys and values the buffer is known to hold."""
    writing: bool = True
    """Whether a request owns the end of the buffer."""
    readers: dict[int, int] = field(default_factory=dict)
    """Number of tokens that each request shares, by the identity of its KV cache."""

    @property
    def lent(self) -> bool:
        return self.writing or bool(self.readers)

    def is_fit(self, length: int) -> bool:
        """Return whether a request may own the buffer and keep only the first `length` tokens."""
        lost = len(self.tokens) - length
        protected = max(self.readers.values(), default=0)
        return not self.writing and protected <= length and lost <= max(length, SMALL)


class LiveBuffers:
    """Buffers of one row each, in the order of their last use."""

    def __init__(self, limit: int) -> None:
        """`limit` is the maximum number of bytes of the buffers that no request uses."""
        self.limit = limit
        self._buffers: list[_Buffer] = []

    def __len__(self) -> int:
        """Return the number of buffers."""
        return len(self._buffers)

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers that no request uses, unused room included. Others are part of a request's memory."""
        return sum(buffer.kv.nbytes for buffer in self._buffers if not buffer.lent)

    def take(self, tokens: Sequence[int], room: int, namespace: str, source: BufferSource) -> KVStore:
        """Lend a KV cache with room for `room` tokens that holds the longest beginning of `tokens` that is alive.

        It must come back with `release`.
        """
        prompt = tuple(tokens)
        length, buffer = max(
            ((common_length(b.tokens, prompt), b) for b in self._buffers if b.namespace == namespace),
            key=lambda pair: pair[0],
            default=(0, None),
        )
        if buffer is not None and buffer.is_fit(length):
            return self._own(buffer, length)
        if buffer is not None and buffer.lent and source.forks and length >= SMALL:
            shared = buffer.kv.fork(1, max(room - length, ROOM), length)
            buffer.readers[id(shared)] = length
            return shared
        return self._new(room, namespace, source)

    def remember(self, tokens: Sequence[int], kv: KVStore) -> None:
        """Note that the tokens of a lent buffer are these, of which it may hold only the beginning."""
        for buffer in self._owned(kv):
            buffer.tokens = tuple(tokens[: buffer.kv.length])

    def release(self, kv: KVStore) -> None:
        """Take a KV cache back; buffers beyond the limit are dropped, those first that were not used for longest."""
        for buffer in self._owned(kv):
            buffer.writing = False
            buffer.kv.crop(len(buffer.tokens))
        for buffer in self._buffers:
            buffer.readers.pop(id(kv), None)
        self._trim()

    def clear(self) -> None:
        """Forget all buffers; requests keep those that they use."""
        self._buffers.clear()

    def _own(self, buffer: _Buffer, length: int) -> KVCache:
        buffer.writing = True
        buffer.tokens = buffer.tokens[:length]
        buffer.kv.crop(length)
        self._buffers.remove(buffer)
        self._buffers.append(buffer)
        return buffer.kv

    def _new(self, room: int, namespace: str, source: BufferSource) -> KVStore:
        """Return an empty buffer; if there is no place for another one, the oldest that is not lent is used again."""
        idle = [buffer for buffer in self._buffers if not buffer.lent]
        if idle and (len(self._buffers) >= MAX_BUFFERS or self.nbytes + idle[0].kv.nbytes > self.limit):
            if idle[0].kv.room >= room:
                idle[0].namespace = namespace
                return self._own(idle[0], 0)
            self._buffers.remove(idle[0])
        kv = source.new_cache(room)
        if isinstance(kv, KVCache):
            self._buffers.append(_Buffer(kv, namespace))
        return kv

    def _owned(self, kv: KVStore) -> Iterator[_Buffer]:
        return (buffer for buffer in self._buffers if buffer.writing and buffer.kv is kv)

    def _trim(self) -> None:
        for buffer in [buffer for buffer in self._buffers if not buffer.lent]:
            if self.nbytes <= self.limit and len(self._buffers) <= MAX_BUFFERS:
                return
            self._buffers.remove(buffer)


def common_length(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """Return the number of tokens with which both begin."""
    same, count = 0, min(len(a), len(b))
    # Slices are compared in C: halves are quicker than one number after the other.
    while same < count:
        middle = (same + count + 1) // 2
        if a[same:middle] == b[same:middle]:
            same = middle
        else:
            count = middle - 1
    return same
