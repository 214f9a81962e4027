"""Make the forward passes that requests need: several at a time where the model can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from codegen_lsp.engine.decode.progress import Planned, Step, Steps
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.passes import Before, nothing_before


def run(model: Model, steps: Steps) -> Iterator[Step]:
    """Make the forward passes of one request; each item is the kind of one that was made."""
    try:
        item = next(steps, None)
        while item is not None:
            kind, logits = (
                (item.kind, model.forward_together([item.part])[0])
                if isinstance(item, Planned)
                else (item, None)
            )
            item = _send(steps, logits)
            yield kind
    finally:
        steps.close()


def _send(steps: Steps, logits: torch.Tensor | None) -> Planned | Step | None:
    try:
        return steps.send(logits)
    except StopIteration:
        return None


def make(
    model: Model, planned: Sequence[Planned], tokens: int, before: Before = nothing_before
) -> Iterator[torch.Tensor | Exception]:
    """Make passes in order, as many at a time as have at most `tokens` tokens together.

    Each item is the logits of a pass, or the reason why it failed. `before` is called as in `Model.forward_together`.
    """
    for group in _groups(planned, tokens if model.forks else 0):
        yield from _make_group(model, group, before)


def _make_group(model: Model, group: Sequence[Planned], before: Before) -> Sequence[torch.Tensor | Exception]:
    lengths = [item.part.kv.length for item in group]
    try:
        return model.forward_together([item.part for item in group], before)
    except Exception as error:
        if len(group) == 1:
            return [error]
    # One of them may be at fault, or there is too little memory for all of them together: each on its own.
    results: list[torch.Tensor | Exception] = []
    for item, length in zip(group, lengths, strict=True):
        item.part.kv.crop(length)
        results += _make_group(model, [item], before)
    return results


def _groups(planned: Sequence[Planned], tokens: int) -> Iterator[list[Planned]]:
    group: list[Planned] = []
    count = 0
    for item in planned:
        size = item.part.tokens.numel()
        if group and count + size > tokens:
            yield group
            group, count = [], 0
        group.append(item)
        count += size
    if group:
        yield group
