"""Turn logits into tokens: arithmetic on tensors, and nothing else.

Log-probabilities are natural logarithms of the model's distribution at temperature 1 over the tokens that have text;
temperature and nucleus change which token is drawn, never the log-probability that is reported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

MOST_LIKELY = 64
"""Number of tokens among which the nucleus is searched first."""


@dataclass(frozen=True, slots=True)
class TokenDistribution:
    """The probabilities of a row's next token."""

    logits: torch.Tensor
    """(vocabulary), with minus infinity for tokens that have no text."""
    likeliest: int
    highest: float
    """The logit of the likeliest token."""
    total: float
    """The logarithm of the sum of e^x over the logits: what makes log-probabilities of them."""
    _tops: dict[int, list[tuple[int, float]]] = field(default_factory=dict, compare=False)

    def log_probability(self, token: int) -> float:
        """Return the log-probability of one token."""
        return (self.highest if token == self.likeliest else float(self.logits[token])) - self.total

    def probability(self, token: int) -> float:
        """Return the probability of one token."""
        return math.exp(self.log_probability(token))

    def log_probability_of_any(self, tokens: torch.Tensor) -> float:
        """Return the log-probability that the next token is among some."""
        return float(self.logits[tokens].logsumexp(0)) - self.total

    def top_logits(self, count: int) -> list[tuple[int, float]]:
        """Return the `count` most likely tokens with their logits, best first; looked up once for all rows."""
        if (likely := self._tops.get(count)) is None:
            likely = self._tops[count] = top(self.logits, count)
        return likely

    def top(self, count: int) -> list[tuple[int, float]]:
        """Return the `count` most likely tokens with their log-probabilities, best first."""
        return [(token, logit - self.total) for token, logit in self.top_logits(count)]


def nucleus(probabilities: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the smallest set of tokens that reaches `top_p`, best first, and their probabilities. Not normalised.

    Holtzman et al. 2020, section 3.1. The most likely token always stays. The vocabulary is not sorted: the most likely
    tokens almost always suffice, and more are taken if not.
    """
    count = min(MOST_LIKELY, probabilities.shape[-1])
    values, tokens = probabilities.topk(count)
    sums = values.cumsum(-1)
    while count < probabilities.shape[-1] and sums[-1] < top_p:
        count = min(8 * count, probabilities.shape[-1])
        values, tokens = probabilities.topk(count)
        sums = values.cumsum(-1)
    size = max(1, int((sums - values < top_p).sum()))
    return tokens[:size], values[:size]


def draw(logits: torch.Tensor, temperature: float, top_p: float, generator: torch.Generator | None) -> int:
    """Draw one token from logits (vocabulary); at temperature 0, return the most likely one."""
    if temperature == 0:
        return int(logits.argmax())
    probabilities = ((logits - logits.max()) / temperature).softmax(-1)
    if top_p >= 1:
        return _draw(probabilities, generator)
    tokens, values = nucleus(probabilities, top_p)
    return int(tokens[_draw(values, generator)])


def _draw(weights: torch.Tensor, generator: torch.Generator | None) -> int:
    """Draw an index with a probability proportional to its weight, from one random number."""
    sums = weights.double().cumsum(-1)
    point = torch.rand((), dtype=torch.float64, generator=generator) * sums[-1]
    return min(int(torch.searchsorted(sums, point, right=True)), len(weights) - 1)


def top(logits: torch.Tensor, count: int) -> list[tuple[int, float]]:
    """Return the `count` highest of logits or log-probabilities (vocabulary), each with its token, best first."""
    if not count:
        return []
    values, tokens = logits.topk(min(count, logits.shape[-1]))
    return [(t, v) for t, v in zip(tokens.tolist(), values.tolist(), strict=True) if v > -torch.inf]
