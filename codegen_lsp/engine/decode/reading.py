"""Read prompts into a KV cache: what every kind of request has in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from codegen_lsp.engine.decode.progress import DecodeProgress
from codegen_lsp.engine.decode.sampling import TokenDistribution
from codegen_lsp.engine.model.kv_store import KVStore
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.prefix_cache import PrefixCache
from codegen_lsp.wire.config import option
from codegen_lsp.wire.errors import InternalError


@dataclass(frozen=True, slots=True)
class Reading:
    """What the steps of one request work with."""

    model: Model
    cache: PrefixCache | None
    progress: DecodeProgress
    """Updated after each step."""
    chunk: int
    """Maximum number of prompt tokens that one step reads."""
    namespace: str = ""
    """The part of the prefix cache that is used."""

    def restore(self, tokens: Sequence[int], room: int) -> KVStore:
        """Return a KV cache with room for `room` tokens that holds the longest cached prefix of `tokens`.

        Pass it to `release` once it is not used any more.
        """
        if self.cache is None:
            return self.model.new_cache(room)
        kv = self.cache.restore(tokens, room, self.namespace, self.model)
        self.progress.cached_tokens += kv.length
        return kv

    def remember(self, tokens: Sequence[int], kv: KVStore) -> None:
        """Put the keys and values of `tokens`, the first ones of row 0, into the prefix cache."""
        if self.cache is not None:
            self.cache.remember(tokens, kv, self.namespace)

    def note(self, tokens: Sequence[int], kv: KVStore) -> None:
        """Let other requests share `tokens` in the buffer of this one; `remember` copies them into the prefix cache."""
        if self.cache is not None:
            self.cache.live.remember(tokens, kv)

    def release(self, kv: KVStore) -> None:
        """Give back what `restore` returned."""
        if self.cache is not None:
            self.cache.release(kv)


def distributions(model: Model, logits: torch.Tensor) -> list[TokenDistribution]:
    """Return the distribution of each row of logits (rows, vocabulary).

    Raises:
        InternalError: the model computed values that are not finite.
    """
    likeliest, highest, totals = model.likeliest(logits)
    if not all(map(math.isfinite, highest)):
        raise not_finite()
    return [TokenDistribution(*each) for each in zip(logits, likeliest, highest, totals, strict=True)]


def not_finite() -> InternalError:
    """Return the error for logits or features that are not finite."""
    return InternalError(
        f"the model computed values that are not finite; use {option('dtype', 'float32')}", code="not-finite"
    )
