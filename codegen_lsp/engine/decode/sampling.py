"""Turn logits into tokens: arithmetic on tensors, and nothing else.

Log-probabilities are natural logarithms of the model's distribution at temperature 1 over the tokens that have text;
temperature and nucleus change which token is drawn, never the log-probability that is reported.
"""

from __future__ import annotations

import torch


def allowed_logits(logits: torch.Tensor, banned: torch.Tensor) -> torch.Tensor:
    """Return logits (rows, vocabulary) in float32, with minus infinity where `banned` (vocabulary) is true."""
    return logits.float().masked_fill(banned, -torch.inf)


def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Return the log-probabilities of logits, over the last dimension."""
    return logits.log_softmax(-1)


def nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Set probabilities (vocabulary) to 0 outside the smallest set of tokens that reaches `top_p`. Not normalised.

    Holtzman et al. 2020, section 3.1. The most likely token always stays.
    """
    if top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(-1) - ordered
    kept = torch.zeros_like(probabilities)
    inside = before < top_p
    inside[0] = True
    kept[order[inside]] = ordered[inside]
    return kept


def draw(logits: torch.Tensor, temperature: float, top_p: float, generator: torch.Generator | None) -> int:
    """Draw one token from logits (vocabulary); at temperature 0, return the most likely one."""
    if temperature == 0:
        return int(logits.argmax())
    scaled = (logits - logits.max()) / temperature
    kept = nucleus(scaled.softmax(-1), top_p)
    return int(torch.multinomial(kept, 1, generator=generator))


def top(log_probabilities: torch.Tensor, count: int) -> list[tuple[int, float]]:
    """Return the `count` most likely tokens of (vocabulary) with their log-probabilities, best first."""
    values, tokens = log_probabilities.topk(min(count, log_probabilities.shape[-1]))
    return [(t, v) for t, v in zip(tokens.tolist(), values.tolist(), strict=True) if v > -torch.inf]
