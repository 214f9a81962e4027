"""Measure how a model is best asked for a middle: with the suffix, in each order of its family, or left to right.

Control tokens in a vocabulary don't prove that a model was trained with them. A model that was trained finds known
middles likelier with the suffix than without it, and ends them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from codegen_lsp.engine.fill import assembly
from codegen_lsp.engine.fill.middles import KNOWN, Known
from codegen_lsp.engine.model.model import Model
from codegen_lsp.wire.fill.formats import LEFT_TO_RIGHT, FillChoice, FillFormat, Order

MARGIN = 0.1
"""Nats per token by which filling must beat left to right."""
LEAST_END = -7.0
"""Mean log-probability that a model must give to the end of a known middle: an untrained one goes on (about -10)."""
SPM_MARGIN = 0.15
"""Nats per token that the order which keeps the prefix cache may lose against the other one."""
SECONDS = 3.0
"""After this many seconds the probe asks no further middle."""


def probe(
    model: Model, fill_format: FillFormat, known: Sequence[Known] = KNOWN, seconds: float = SECONDS
) -> FillChoice:
    """Return how a model is best asked for a middle, with the mean log-probabilities that say so."""
    measured: dict[str, list[float]] = {name: [] for name in (LEFT_TO_RIGHT, *fill_format.orders)}
    ends: dict[str, list[float]] = {name: [] for name in fill_format.orders}
    started = time.monotonic()
    for each in known:
        measured[LEFT_TO_RIGHT].append(_left_to_right(model, each))
        for order in fill_format.orders:
            middle, end = _filled(model, fill_format, order, each)
            measured[order].append(middle)
            ends[order].append(end)
        if time.monotonic() - started > seconds:
            break
    scores = {name: _mean(values) for name, values in measured.items()}
    return judge(fill_format, scores, {name: _mean(values) for name, values in ends.items()})


def judge(fill_format: FillFormat, scores: dict[str, float], ends: dict[str, float]) -> FillChoice:
    """Return the choice that mean log-probabilities of middles, and of their ends, come to."""
    plain = scores[LEFT_TO_RIGHT]
    fit = [o for o in fill_format.orders if scores[o] > plain + MARGIN and ends[o] > LEAST_END]
    rounded = {name: round(value, 3) for name, value in scores.items()}
    if not fit:
        reason = (
            f"the tokens of {fill_format.family} are there, but the model was not trained to fill with them"
        )
        return FillChoice(fill_format, None, rounded, reason)
    best = max(fit, key=lambda order: scores[order] + (SPM_MARGIN if order == "spm" else 0.0))
    reason = f"known middles are likelier with the text after them ({best}: {scores[best]:.2f}, without: {plain:.2f})"
    return FillChoice(fill_format, best, rounded, reason)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _left_to_right(model: Model, known: Known) -> float:
    vocabulary = model.vocabulary
    middle = vocabulary.encode_part(known.middle)
    values = _log_probabilities(model, vocabulary.encode(known.prefix), middle)
    return _mean([float(values[i, token]) for i, token in enumerate(middle)])


def _filled(model: Model, fill_format: FillFormat, order: Order, known: Known) -> tuple[float, float]:
    """Return the mean log-probability of a middle's tokens, and that of its end."""
    vocabulary = model.vocabulary
    prefix = vocabulary.encode_part(assembly.lead(fill_format, order) + known.prefix)
    prompt = assembly.assemble(vocabulary, fill_format, order, prefix, vocabulary.encode_part(known.suffix))
    middle = vocabulary.encode_part(known.middle)
    values = _log_probabilities(model, prompt, middle)
    ends = sorted(vocabulary.ends | assembly.ends(vocabulary, fill_format))
    end = float(values[-1, ends].logsumexp(0))
    return _mean([float(values[i, token]) for i, token in enumerate(middle)]), end


def _log_probabilities(model: Model, prompt: Sequence[int], middle: Sequence[int]) -> torch.Tensor:
    """Return the log-probabilities (middle + 1, vocabulary) of what follows the prompt, and each token after it."""
    tokens = [*prompt, *middle]
    kept = torch.arange(len(prompt) - 1, len(tokens))
    logits = model.forward(torch.tensor([tokens]), model.new_cache(len(tokens)), kept)[0]
    return logits.masked_fill(model.banned, float("-inf")).log_softmax(-1)
