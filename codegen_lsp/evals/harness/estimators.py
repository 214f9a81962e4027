"""The arithmetic of the reports: pass@k, its interval, edit similarity, percentiles. Pure, standard library only."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The chance that at least one of `k` samples passes, of which `n` were drawn and `correct` passed.

    Unbiased: 1 - C(n - c, k) / C(n, k), as a product that does not overflow (Chen et al. 2021, section 2.1).

    Raises:
        ValueError: fewer than `k` samples were drawn, or the counts make no sense.
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
        """Rounded to what the samples can tell."""
        return {"mean": round(self.mean, 6), "low": round(self.low, 6), "high": round(self.high, 6)}

    def percent(self) -> str:
        """`12.8 (9.1 – 16.6)`."""
        return f"{100 * self.mean:.2f} ({100 * self.low:.1f} – {100 * self.high:.1f})"


def bootstrap(values: Sequence[float], *, draws: int = 1000, seed: int = 0) -> Estimate:
    """The mean, and the interval that 95 % of means over problems drawn with replacement fall into.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("there is nothing to estimate from")
    source = random.Random(seed)
    size = len(values)
    means = sorted(math.fsum(source.choices(values, k=size)) / size for _ in range(draws))
    return Estimate(math.fsum(values) / size, percentile(means, 2.5), percentile(means, 97.5))


def percentile(values: Sequence[float], percent: float) -> float:
    """The percentile of sorted values, between two of them by linear interpolation; NaN of none."""
    if not values:
        return math.nan
    place = (len(values) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def edit_similarity(one: str, other: str) -> float:
    """1 - Levenshtein distance / length of the longer text; 1 for two empty texts."""
    longer = max(len(one), len(other))
    return 1.0 if not longer else 1.0 - levenshtein(one, other) / longer


def levenshtein(one: str, other: str) -> int:
    """Insertions, deletions and replacements of characters that turn one text into the other, at least."""
    if len(one) < len(other):
        one, other = other, one
    previous = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        current = [i]
        for j, right in enumerate(other, 1):
            current.append(min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (left != right)))
        previous = current
    return previous[-1]
