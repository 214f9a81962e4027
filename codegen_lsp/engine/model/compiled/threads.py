"""How many threads compute a step.

Two threads halve the step of a small model while two cores are free. While another program has one of them, each thread
waits for the other at every kernel, and the step takes five times as long. So what was faster lately is taken, and the
other one is tried from time to time. Steps beside which an answer is sent have times of their own.
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
        self._times: dict[tuple[int, bool], _Times] = {}

    @property
    def most(self) -> int:
        """The maximum number of threads of a step."""
        return max(self._counts, default=0) or team.thread_count()

    def of(self, tokens: int, *, is_busy: bool = False) -> int:
        """Return how many threads the next step of `tokens` tokens takes.

        `is_busy` says whether other threads of this process have work in the meantime.
        """
        return self._times_of(tokens, is_busy).next() if self._counts else team.thread_count()

    def add(self, tokens: int, threads: int, seconds: float, *, is_busy: bool = False) -> None:
        """Note how long a step took."""
        if self._counts:
            self._times_of(tokens, is_busy).add(threads, seconds)

    def _times_of(self, tokens: int, is_busy: bool) -> _Times:
        times = self._times.get((tokens, is_busy))
        if times is None:
            times = self._times[tokens, is_busy] = _Times(self._counts)
        return times


class _Times:
    """The last times of steps of one kind, by their threads."""

    def __init__(self, counts: Sequence[int]) -> None:
        self._taken = {count: deque[float](maxlen=REMEMBERED) for count in counts}
        self._usual = dict.fromkeys(counts, math.inf)
        """The median of the times."""
        self._ranked = [*counts]
        """The numbers of threads, the fastest first."""
        self._untried = [count for count in counts for _ in range(REMEMBERED)]
        """The numbers of threads of the first steps."""
        self._wait = self._until_trial = TRIAL

    def next(self) -> int:
        """Return how many threads the next step takes."""
        if self._untried:
            return self._untried[0]
        self._until_trial -= 1
        if self._until_trial or len(self._ranked) == 1:
            return self._ranked[0]
        self._until_trial = self._wait = min(2 * self._wait, LONGEST)
        return self._ranked[1]

    def add(self, threads: int, seconds: float) -> None:
        """Note how long a step took."""
        best = self._ranked[0]
        if threads != best and seconds < self._usual[best]:
            self._until_trial, self._wait = 1, TRIAL
        if threads in self._untried:
            self._untried.remove(threads)
        taken = self._taken[threads]
        taken.append(seconds)
        self._usual[threads] = sorted(taken)[len(taken) // 2]
        self._ranked.sort(key=self._usual.__getitem__)
