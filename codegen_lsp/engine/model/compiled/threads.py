"""How many threads compute a step.

Two threads halve the step of a small model while two cores are free. While another program has one of them, each thread
waits for the other at every kernel, and the step takes five times as long. So what was faster lately is taken, and the
other one is tried from time to time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from codegen_lsp.engine.quantized import team

SMALL = 50_000_000
"""Number of parameters below which a model is small: what takes its time is calls, not the weights that they read."""

REMEMBERED = 3
"""Number of times that count, of each number of threads."""

TRIAL = 32
"""After how many steps another number of threads is tried."""

LONGEST = 512
"""The same after many trials that were slower: each doubles it. One that is faster is repeated at once."""


class ThreadChoice:
    """The numbers of threads that a model's steps may take, and what they took."""

    def __init__(self, counts: Sequence[int] = ()) -> None:
        """Choose among `counts`; without any, steps take as many threads as torch's operators."""
        self._counts = counts
        self._times: dict[int, dict[int, deque[float]]] = {}
        """The last times of steps, by their tokens and their threads."""
        self._wait = self._until_trial = TRIAL

    @property
    def most(self) -> int:
        """The maximum number of threads of a step."""
        return max(self._counts, default=0) or team.thread_count()

    def of(self, tokens: int) -> int:
        """Return how many threads the next step of `tokens` tokens takes."""
        if not self._counts:
            return team.thread_count()
        times = self._times_of(tokens)
        for count, taken in times.items():
            if len(taken) < REMEMBERED:
                return count
        best, *others = _ranked(times)
        self._until_trial -= 1
        if self._until_trial or not others:
            return best
        self._until_trial = self._wait = min(2 * self._wait, LONGEST)
        return others[0]

    def add(self, tokens: int, threads: int, seconds: float) -> None:
        """Note how long a step took."""
        if not self._counts:
            return
        times = self._times_of(tokens)
        best = _ranked(times)[0]
        if threads != best and seconds < _usual(times[best]):
            self._until_trial, self._wait = 1, TRIAL
        times[threads].append(seconds)

    def _times_of(self, tokens: int) -> dict[int, deque[float]]:
        times = self._times.get(tokens)
        if times is None:
            times = self._times[tokens] = {count: deque(maxlen=REMEMBERED) for count in self._counts}
        return times


def _ranked(times: dict[int, deque[float]]) -> list[int]:
    """Return the numbers of threads, the fastest first; those without times come last."""
    return sorted(times, key=lambda count: _usual(times[count]))


def _usual(taken: deque[float]) -> float:
    """Return the median of some times."""
    return sorted(taken)[len(taken) // 2] if taken else math.inf
