"""The interface of every KV cache of a running request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from transformers.cache_utils import Cache

from codegen_lsp.engine.model.kv_layout import Piece


class KVStore(Protocol):
    """The keys and values of the rows of one request.

    Stores that can't be cut into pieces (`has_pieces` is false) refuse `append`, `copy` and `fork`.
    """

    has_pieces: bool
    """Whether pieces can be cut out and put in again, so that a prefix cache can keep them."""

    @property
    def cache(self) -> Cache:
        """The store in the form that transformers expects."""

    @property
    def length(self) -> int:
        """Number of tokens read so far, for each row."""

    @property
    def nbytes(self) -> int:
        """Bytes held, unused room included."""

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` more tokens in each row."""

    def repeat(self, rows: int, more: int) -> KVStore:
        """Return a store of `rows` rows that each hold a copy of the only row, with room for `more` tokens."""

    def fork(self, rows: int, more: int, length: int | None = None) -> KVStore:
        """Return a store of `rows` rows that share the first `length` tokens of the only row, with room for `more`."""

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these (ascending indices)."""

    def crop(self, length: int) -> None:
        """Drop the tokens from `length` on."""

    def append(self, piece: Piece) -> None:
        """Add the keys and values of more tokens at the end of every row."""

    def copy(self, start: int, stop: int) -> Piece:
        """Return a copy of row 0's keys and values of the tokens from `start` to `stop`."""
