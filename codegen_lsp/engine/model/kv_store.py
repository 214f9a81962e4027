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

    def expand(self, rows: int, more: int) -> None:
        """Repeat the only row `rows` times, with room for `more` tokens in each."""

    def fork(self, rows: int, more: int) -> KVStore:
        """Return a store of `rows` rows that share the tokens of the only row here, with room for `more` each."""

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these (ascending indices)."""

    def append(self, piece: Piece) -> None:
        """Add the keys and values of more tokens at the end of every row."""

    def copy(self, start: int, stop: int) -> Piece:
        """Return a copy of row 0's keys and values of the tokens from `start` to `stop`."""
