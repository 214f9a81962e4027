"""Greedy tokens that are equal, or differ only where two are equally likely but for rounding."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from codegen_lsp.engine.model.model import Model


def assert_as_good(
    model: Model, tokens: Sequence[int], made: Sequence[str], expected: Sequence[str], tolerance: float
) -> None:
    """Compare names of tokens after `tokens`: equal, or a first other one that is as likely as the best.

    transformers' module of the model says what is likely; `tolerance` is in nats.
    """
    if list(made) == list(expected):
        return
    pairs = zip([*made, None], [*expected, None], strict=False)
    first = next(i for i, pair in enumerate(pairs) if len({*pair}) > 1)
    ids = {model.vocabulary.text_of(token): token for token in reversed(range(model.vocabulary.size))}
    before = [*tokens, *(ids[name] for name in expected[:first])]
    with torch.inference_mode():
        logits = model.module(torch.tensor([before], device=model.input_device)).logits[0, -1].float()
    logits = logits.cpu().masked_fill(model.banned, -torch.inf).log_softmax(-1)
    named = {model.vocabulary.text_of(token): value for token, value in enumerate(logits.tolist())}
    chosen = named[made[first]] if first < len(made) else max(logits[e] for e in model.vocabulary.ends)
    assert float(logits.max()) - float(chosen) <= tolerance, (first, made, expected)
