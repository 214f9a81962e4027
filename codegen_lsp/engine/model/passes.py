"""One request's part of a forward pass, and what passes cost. Requests that run at the same time share passes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from codegen_lsp.engine.model.kv_store import KVStore

Before = Callable[[], bool]
"""Called just before kernels run, which leave Python to other threads; returns whether these have work now."""

TRIALS = 3
"""How often a time is measured before it is trusted."""

KEPT = 9
"""Number of measurements that count: the context grows, and other programs come and go."""

MOST = 16
"""Maximum number of tokens of a pass that is measured."""


def nothing_before() -> bool:
    """Say that other threads have no work."""
    return False


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
    parts = [part.tokens.reshape(-1) for part in passes]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def positions(passes: Sequence[Pass]) -> torch.Tensor:
    """Return the positions in their sequences of the tokens of `flat`."""
    spans = [[*range(part.kv.length, part.kv.length + part.new)] * part.rows for part in passes]
    return torch.tensor([position for span in spans for position in span])


def kept_indices(passes: Sequence[Pass]) -> list[int]:
    """Return the indices, among the tokens of `flat`, of those whose logits are needed."""
    indices: list[int] = []
    start = 0
    for part in passes:
        kept = part.kept()
        for _ in range(part.rows):
            indices += [start + index for index in kept]
            start += part.new
    return indices


def split_logits(logits: torch.Tensor, passes: Sequence[Pass]) -> list[torch.Tensor]:
    """Return the logits (rows, kept, vocabulary) of each pass, from those of `kept_indices`."""
    if len(passes) == 1:
        return [logits.view(passes[0].rows, -1, logits.shape[-1])]
    counts = [part.rows * len(part.kept()) for part in passes]
    parts = torch.split(logits, counts)
    return [each.view(part.rows, -1, logits.shape[-1]) for each, part in zip(parts, passes, strict=True)]


class StepTimes:
    """What forward passes of one row cost, by their number of tokens."""

    def __init__(self) -> None:
        self._times: dict[int, deque[float]] = {}

    def add(self, tokens: int, seconds: float) -> None:
        """Note a measured time."""
        if tokens <= MOST:
            self._times.setdefault(tokens, deque(maxlen=KEPT)).append(seconds)

    def ratio(self, tokens: int) -> float | None:
        """Return the time of a pass of `tokens` tokens in passes of one token, None before it was measured."""
        one, several = self._times.get(1, ()), self._times.get(tokens, ())
        if len(one) < TRIALS or len(several) < TRIALS:
            return None
        return median(several) / median(one)
