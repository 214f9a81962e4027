"""Keys and values of earlier prompts, so that a keystroke costs a few tokens and not the whole file.

A radix tree over token ids. A node holds a segment of at most `SEGMENT` tokens with their keys and values; prompts
with a common beginning share its nodes, so it is stored once. The nodes are held in an LRU cache limited by bytes
(cachetools), in which a parent is always more recently used than its children: only leaves are evicted, and the tree
never holds a segment whose beginning is missing.

Each namespace has a tree of its own: a client learns from `cached_tokens`, and from the time to the first token, which
prompts were read before, so it must not share a tree with clients whose prompts it may not know.

The buffers of the most recent prompts stay alive in front of the tree (`live.py`), and count against the same limit:
only what they lack is copied out of the tree.

Knows token ids and pieces of KV cache. Knows no models and no requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from cachetools import LRUCache

from codegen_lsp.engine.model.kv_layout import TOKENS, Piece
from codegen_lsp.engine.model.kv_store import KVStore
from codegen_lsp.engine.model.live import BufferSource, LiveBuffers, common_length

MOST_BYTES, CONTEXTS = 2**30, 12
"""Maximum number of bytes, and of full contexts, that a prefix cache holds unless it is told otherwise.

Ten held-out files typed with nano had the same share of their prompts cached with 12 contexts, 96 MiB, as with 1 GiB.
"""
SEGMENT = 64
"""Maximum number of tokens in a node, the unit of eviction."""

LIVE_SHARE = 2
"""Live buffers may take this fraction of the limit."""


class SegmentSource(Protocol):
    """The store that pieces are cut out of: the KV cache of a running request."""

    def copy(self, start: int, stop: int) -> Piece:
        """Return a copy of the keys and values of the tokens from `start` to `stop`."""


@dataclass(frozen=True, slots=True)
class Match:
    """The longest cached prefix of a prompt."""

    pieces: tuple[Piece, ...]
    """In order, `length` tokens in total. Views of the cache's memory: copy them before the next insert."""
    length: int
    remaining: tuple[int, ...]
    """The tokens of the prompt that are not cached, still to be read."""

    def after(self, start: int) -> list[Piece]:
        """Return the pieces of the tokens from `start` on."""
        pieces, position = [], 0
        for piece in self.pieces:
            stop = position + piece[0].shape[TOKENS]
            if stop > start:
                pieces.append(_slice(piece, max(start - position, 0), stop - position))
            position = stop
        return pieces


@dataclass(eq=False, slots=True)
class _Node:
    tokens: tuple[int, ...]
    piece: Piece
    parent: _Node | None
    children: dict[int, _Node] = field(default_factory=dict)
    namespace: str = ""

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.piece)


def usual_limit(context: int, bytes_per_token: int) -> int:
    """Return the size of a prefix cache for which none is given: a few documents' worth of a small model."""
    return min(MOST_BYTES, CONTEXTS * context * bytes_per_token)


class PrefixCache:
    """Keys and values of token prefixes, limited by bytes."""

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes."""
        self._roots: dict[str, _Node] = {}
        self._nodes: LRUCache[int, _Node] = LRUCache(limit, getsizeof=lambda node: node.nbytes)
        self.live = LiveBuffers(limit // LIVE_SHARE)
        self.evictions = 0
        """Number of nodes evicted so far."""

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values held, in the tree and in live buffers."""
        return int(self._nodes.currsize) + self.live.nbytes

    @property
    def limit(self) -> int:
        """Maximum number of bytes."""
        return int(self._nodes.maxsize)

    def __len__(self) -> int:
        """Return the number of tokens held in the tree."""
        # Walk the trees: looking a node up in the LRU cache would count as a use.
        count, nodes = 0, [*self._roots.values()]
        while nodes:
            node = nodes.pop()
            count += len(node.tokens)
            nodes += node.children.values()
        return count

    def lookup(self, tokens: Sequence[int], namespace: str = "") -> Match:
        """Return the longest prefix of `tokens` cached in a namespace, and the tokens that remain to be read."""
        prompt = tuple(tokens)
        path, length = self._walk(self._roots.get(namespace) or _Node((), (), None), prompt)
        self._touch(path[-1][0])
        pieces = []
        for node, used in path[1:]:
            whole = used == len(node.tokens)
            pieces.append(node.piece if whole else _slice(node.piece, 0, used))
        return Match(tuple(pieces), length, prompt[length:])

    def restore(self, tokens: Sequence[int], room: int, namespace: str, source: BufferSource) -> KVStore:
        """Lend a KV cache with room for `room` tokens that holds the longest cached prefix of `tokens`.

        It must come back with `release`.
        """
        kv = self.live.take(tokens, room, namespace, source)
        if kv.has_pieces:
            for piece in self.lookup(tokens, namespace).after(kv.length):
                kv.append(piece)
        return kv

    def remember(self, tokens: Sequence[int], kv: KVStore, namespace: str) -> None:
        """Keep the keys and values of `tokens`, the first ones of row 0 of a KV cache."""
        if kv.has_pieces:
            self.insert(tokens, kv, namespace)
        self.live.remember(tokens, kv)

    def release(self, kv: KVStore) -> None:
        """Take back a KV cache that `restore` has lent."""
        self.live.release(kv)
        self._make_room(0, None)

    def insert(self, tokens: Sequence[int], source: SegmentSource, namespace: str = "") -> None:
        """Store the keys and values of `tokens`, which `source` holds from its first token on.

        Segments that are cached already are not copied again. If not everything fits, the beginning is kept.
        """
        root = self._roots.setdefault(namespace, _Node((), (), None, namespace=namespace))
        self._insert(root, tuple(tokens), source)
        if not root.children:
            del self._roots[namespace]

    def _insert(self, root: _Node, prompt: tuple[int, ...], source: SegmentSource) -> None:
        path, length = self._walk(root, prompt)
        node, used = path[-1]
        if length == len(prompt):
            self._touch(node)
            return
        if used < len(node.tokens):
            node = self._split(node, used)
        self._touch(node)
        if not node.children and node.parent is not None and len(node.tokens) < SEGMENT:
            more = min(SEGMENT - len(node.tokens), len(prompt) - length)
            if not self._grow(
                node, prompt[length : length + more], lambda: source.copy(length, length + more)
            ):
                return
            length += more
        while length < len(prompt):
            stop = min(length + SEGMENT, len(prompt))
            child = self._add(node, prompt[length:stop], source.copy(length, stop))
            if child is None:
                return
            node, length = child, stop

    def clear(self) -> None:
        """Drop everything."""
        self._roots.clear()
        self._nodes.clear()
        self.live.clear()

    def _walk(self, root: _Node, tokens: tuple[int, ...]) -> tuple[list[tuple[_Node, int]], int]:
        """Return the nodes along `tokens` with the number of matching tokens in each, and their sum."""
        node, length = root, 0
        path = [(node, 0)]
        while length < len(tokens) and (child := node.children.get(tokens[length])) is not None:
            used = common_length(child.tokens, tokens[length : length + SEGMENT])
            path.append((child, used))
            length += used
            if used < len(child.tokens):
                break
            node = child
        return path, length

    def _touch(self, node: _Node) -> None:
        """Mark a node and its ancestors as used now, the one next to the root last."""
        ancestor: _Node | None = node
        while ancestor is not None and ancestor.parent is not None:
            self._nodes[id(ancestor)]
            ancestor = ancestor.parent

    def _split(self, node: _Node, border: int) -> _Node:
        """Cut a node in two and return the first part. Copies, so that each part can be freed alone."""
        assert node.parent is not None
        del self._nodes[id(node)]
        head = _Node(node.tokens[:border], _slice(node.piece, 0, border, copy=True), node.parent)
        node.parent.children[head.tokens[0]] = head
        node.piece = _slice(node.piece, border, len(node.tokens), copy=True)
        node.tokens = node.tokens[border:]
        node.parent = head
        head.children[node.tokens[0]] = node
        self._nodes[id(node)] = node
        self._nodes[id(head)] = head
        return head

    def _grow(self, leaf: _Node, tokens: tuple[int, ...], cut: Callable[[], Piece]) -> bool:
        """Add tokens to a leaf; return false if they don't fit."""
        size = leaf.nbytes // len(leaf.tokens) * len(tokens)
        if not self._make_room(size, leaf):
            return False
        del self._nodes[id(leaf)]
        leaf.piece = tuple(torch.cat(pair, TOKENS) for pair in zip(leaf.piece, cut(), strict=True))
        leaf.tokens += tokens
        self._nodes[id(leaf)] = leaf
        self._touch(leaf)
        return True

    def _add(self, parent: _Node, tokens: tuple[int, ...], piece: Piece) -> _Node | None:
        """Return a new leaf, or None if it doesn't fit."""
        child = _Node(tokens, piece, parent)
        if not self._make_room(child.nbytes, parent):
            return None
        parent.children[tokens[0]] = child
        self._nodes[id(child)] = child
        self._touch(child)
        return child

    def _make_room(self, size: int, tail: _Node | None) -> bool:
        """Evict until `size` bytes are free; return false if only the path that ends in `tail` is left to evict.

        That path was touched just now, so it comes last in the LRU order, its end before its beginning.
        """
        while self.nbytes + size > self._nodes.maxsize:
            if not self._nodes:
                return False
            key, node = self._nodes.popitem()
            if node is tail:
                self._nodes[key] = node
                self._touch(node)
                return False
            assert node.parent is not None
            assert not node.children, "a parent is always more recently used than its children"
            del node.parent.children[node.tokens[0]]
            if node.parent.parent is None and not node.parent.children and node.parent is not tail:
                self._roots.pop(node.parent.namespace, None)
            self.evictions += 1
        return True


def _slice(piece: Piece, start: int, stop: int, *, copy: bool = False) -> Piece:
    parts = (part[:, :, :, start:stop] for part in piece)
    return tuple(part.clone() if copy else part for part in parts)
