"""Keys and values of prompts that were read before, so that a keystroke costs a few tokens and not the file.

A radix tree over token ids. A node holds a segment of at most `SEGMENT` tokens with their keys and values; prompts
that begin alike share the nodes of what they share, so it is stored once. The nodes live in an LRU of bytes
(cachetools), in which a parent is always more recently used than its children: what is evicted is always a
leaf, and the tree never holds a segment whose beginning is gone.

Knows token ids and pieces of KV cache. Knows no models and no requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from cachetools import LRUCache

from codegen_lsp.engine.model.kv import Piece

SEGMENT = 64
"""Tokens that one node holds at most: what is evicted, and split, at a time."""

TOKENS = 3
"""The dimension of a piece's tensors that counts tokens."""


class SegmentSource(Protocol):
    """What pieces are cut out of: the KV cache of a running request."""

    def copy(self, start: int, stop: int) -> Piece:
        """The keys and values of the tokens `start` to `stop`, in memory of their own."""


@dataclass(frozen=True, slots=True)
class Match:
    """The longest cached prefix of a prompt."""

    pieces: tuple[Piece, ...]
    """In order, together `length` tokens. Views of what the cache holds: copy before the next insert."""
    length: int
    remaining: tuple[int, ...]
    """The tokens of the prompt that are not cached."""


@dataclass(eq=False, slots=True)
class _Node:
    tokens: tuple[int, ...]
    piece: Piece
    parent: _Node | None
    children: dict[int, _Node] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.piece)


class PrefixCache:
    """Keys and values over token prefixes, within a number of bytes."""

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes."""
        self._root = _Node((), (), None)
        self._nodes: LRUCache[int, _Node] = LRUCache(limit, getsizeof=lambda node: node.nbytes)
        self.evictions = 0
        """Nodes that made room for others, ever."""

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return int(self._nodes.currsize)

    @property
    def limit(self) -> int:
        """Bytes that may be held."""
        return int(self._nodes.maxsize)

    def __len__(self) -> int:
        """Tokens that are held."""
        # Down the tree: to look a node up in the LRU would count as a use.
        count, nodes = 0, [self._root]
        while nodes:
            node = nodes.pop()
            count += len(node.tokens)
            nodes += node.children.values()
        return count

    def lookup(self, tokens: Sequence[int]) -> Match:
        """The longest prefix of `tokens` that is cached, and what remains to be read."""
        wanted = tuple(tokens)
        path, length = self._walk(wanted)
        self._touch(path[-1][0])
        pieces = []
        for node, used in path[1:]:
            whole = used == len(node.tokens)
            pieces.append(node.piece if whole else _slice(node.piece, 0, used))
        return Match(tuple(pieces), length, wanted[length:])

    def insert(self, tokens: Sequence[int], source: SegmentSource) -> None:
        """Remember the keys and values of `tokens`, which `source` holds from its start on.

        What is cached already is not copied again. Where not all of it fits, its beginning is kept.
        """
        wanted = tuple(tokens)
        path, length = self._walk(wanted)
        node, used = path[-1]
        if length == len(wanted):
            self._touch(node)
            return
        if used < len(node.tokens):
            node = self._split(node, used)
        self._touch(node)
        if not node.children and node is not self._root and len(node.tokens) < SEGMENT:
            more = min(SEGMENT - len(node.tokens), len(wanted) - length)
            if not self._grow(
                node, wanted[length : length + more], lambda: source.copy(length, length + more)
            ):
                return
            length += more
        while length < len(wanted):
            stop = min(length + SEGMENT, len(wanted))
            child = self._add(node, wanted[length:stop], source.copy(length, stop))
            if child is None:
                return
            node, length = child, stop

    def clear(self) -> None:
        """Forget everything."""
        self._root.children.clear()
        self._nodes.clear()

    def _walk(self, tokens: tuple[int, ...]) -> tuple[list[tuple[_Node, int]], int]:
        """The nodes along `tokens`, each with how many of its tokens match, and the tokens matched in all."""
        node, length = self._root, 0
        path = [(node, 0)]
        while length < len(tokens) and (child := node.children.get(tokens[length])) is not None:
            used = _common(child.tokens, tokens, length)
            path.append((child, used))
            length += used
            if used < len(child.tokens):
                break
            node = child
        return path, length

    def _touch(self, node: _Node) -> None:
        """Mark a node and everything above it as used now, the root's side last."""
        at: _Node | None = node
        while at is not None and at is not self._root:
            self._nodes[id(at)]
            at = at.parent

    def _split(self, node: _Node, at: int) -> _Node:
        """Cut a node in two; gives the first part. Copies, so that each part is freed alone."""
        assert node.parent is not None
        del self._nodes[id(node)]
        head = _Node(node.tokens[:at], _slice(node.piece, 0, at, copy=True), node.parent)
        node.parent.children[head.tokens[0]] = head
        node.piece = _slice(node.piece, at, len(node.tokens), copy=True)
        node.tokens = node.tokens[at:]
        node.parent = head
        head.children[node.tokens[0]] = node
        self._nodes[id(node)] = node
        self._nodes[id(head)] = head
        return head

    def _grow(self, leaf: _Node, tokens: tuple[int, ...], cut: Callable[[], Piece]) -> bool:
        """Add tokens to a leaf; false where they don't fit."""
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
        """A new leaf; None where it doesn't fit."""
        child = _Node(tokens, piece, parent)
        if not self._make_room(child.nbytes, parent):
            return None
        parent.children[tokens[0]] = child
        self._nodes[id(child)] = child
        self._touch(child)
        return child

    def _make_room(self, size: int, tail: _Node) -> bool:
        """Evict until `size` bytes are free; false where only the path that ends in `tail` would be left to
        evict. That path was touched just now, so it comes last, and its end first of it."""
        while self._nodes.currsize + size > self._nodes.maxsize:
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
            self.evictions += 1
        return True


def _common(segment: tuple[int, ...], tokens: tuple[int, ...], start: int) -> int:
    """How many tokens of `segment` are those of `tokens` from `start` on."""
    other = tokens[start : start + len(segment)]
    if segment == other:
        return len(segment)
    return next((i for i, (a, b) in enumerate(zip(segment, other, strict=False)) if a != b), len(other))


def _slice(piece: Piece, start: int, stop: int, *, copy: bool = False) -> Piece:
    parts = (part[:, :, :, start:stop] for part in piece)
    return tuple(part.clone() if copy else part for part in parts)
