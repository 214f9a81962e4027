"""The arithmetic of the reports: pass@k, bootstrap intervals, percentiles, edit similarity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Return the probability that at least one of `k` samples passes, from `n` samples of which `correct` passed.

    Unbiased: 1 - C(n - c, k) / C(n, k), as a product that does not overflow (Chen et al. 2021, section 2.1).

    Raises:
        ValueError: `k` is larger than `n`, or a count is out of range.
    """
    if not 0 <= correct <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {correct} correct among {n} samples makes no sense")
    if n - correct < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - correct + 1, n + 1))


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its 95 % interval, each from 0 to 1."""

    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return the three numbers, rounded to six digits."""
        return {"mean": round(self.mean, 6), "low": round(self.low, 6), "high": round(self.high, 6)}

    def percent(self) -> str:
        """Return the estimate as `12.76 (9.1 – 16.6)`."""
        return f"{100 * self.mean:.2f} ({100 * self.low:.1f} – {100 * self.high:.1f})"


def bootstrap(values: Sequence[float], *, draws: int = 1000, seed: int = 0) -> Estimate:
    """Return the mean, and the interval of 95 % of the means over values drawn with replacement.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("there is nothing to estimate from")
    samples = np.random.default_rng(seed).choice(np.asarray(values, float), (draws, len(values)))
    low, high = np.percentile(samples.mean(axis=1), (2.5, 97.5))
    return Estimate(math.fsum(values) / len(values), float(low), float(high))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the percentile of values, interpolated linearly between two of them; NaN of none."""
    return float(np.percentile(values, percent)) if values else math.nan


def edit_similarity(first: str, second: str) -> float:
    """Return 1 - Levenshtein distance / length of the longer text; 1 for two empty texts."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.normalized_similarity(first, second)


def levenshtein(first: str, second: str) -> int:
    """Return the least number of insertions, deletions and replacements that turn one text into the other."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(first, second)
