"""One request's part of a forward pass. Requests that decode at the same time share passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from codegen_lsp.engine.model.kv_store import KVStore


@dataclass(frozen=True, slots=True)
class Pass:
    """Tokens to read at the end of a KV cache, and the positions whose logits are needed."""

    tokens: torch.Tensor
    """Ids (rows, t), with as many rows as the cache has."""
    kv: KVStore
    """Grows by t tokens."""
    keep: int | torch.Tensor = 1
    """The number of last positions to return logits for, or the indices of the positions (of the t)."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.tokens.shape[0]

    @property
    def new(self) -> int:
        """Number of tokens that each row reads."""
        return self.tokens.shape[1]

    def kept(self) -> list[int]:
        """Return the indices (of the t) of the positions whose logits are needed."""
        if isinstance(self.keep, int):
            return list(range(self.new))[-self.keep :]
        return [int(index) for index in self.keep]


def flat(passes: Sequence[Pass]) -> torch.Tensor:
    """Return the tokens of all passes, row by row."""
    return torch.cat([part.tokens.reshape(-1) for part in passes])


def positions(passes: Sequence[Pass]) -> torch.Tensor:
    """Return the positions in their sequences of the tokens of `flat`."""
    spans = [torch.arange(part.kv.length, part.kv.length + part.new).repeat(part.rows) for part in passes]
    return torch.cat(spans)


def kept_indices(passes: Sequence[Pass]) -> torch.Tensor:
    """Return the indices, among the tokens of `flat`, of those whose logits are needed."""
    indices: list[int] = []
    start = 0
    for part in passes:
        kept = part.kept()
        for _ in range(part.rows):
            indices += [start + index for index in kept]
            start += part.new
    return torch.tensor(indices)


def split_logits(logits: torch.Tensor, passes: Sequence[Pass]) -> list[torch.Tensor]:
    """Return the logits (rows, kept, vocabulary) of each pass, from those of `kept_indices`."""
    counts = [part.rows * len(part.kept()) for part in passes]
    parts = torch.split(logits, counts)
    return [each.view(part.rows, -1, logits.shape[-1]) for each, part in zip(parts, passes, strict=True)]
