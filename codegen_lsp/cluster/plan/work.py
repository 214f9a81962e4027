"""Simulated work that shares processors: the more pieces of it are in progress, the slower each of them is."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

Then = Callable[[], None]


class SharedWork:
    """Pieces of work in progress, all at the same pace, which drops once they outnumber the processors."""

    def __init__(self, processors: float) -> None:
        """Start at time 0 without work."""
        self.now = 0.0
        self._processors = processors
        self._progress = 0.0
        """Seconds of work that a piece in progress since time 0 would have completed."""
        self._ends: list[tuple[float, int, Then]] = []
        self._number = 0

    def add(self, seconds: float, then: Then) -> None:
        """Start a piece that takes `seconds` of a processor, and call `then` at its end."""
        self._number += 1
        heapq.heappush(self._ends, (self._progress + seconds, self._number, then))

    def run(self, limit: float) -> None:
        """Advance to a time, or until all work is done."""
        while self._ends:
            pace = min(1.0, self._processors / len(self._ends))
            end = self.now + (self._ends[0][0] - self._progress) / pace
            if end > limit:
                self._progress += (limit - self.now) * pace
                break
            self._progress, _, then = heapq.heappop(self._ends)
            self.now = end
            then()
        if math.isfinite(limit):
            self._progress += 0.0 if self._ends else limit - self.now
            self.now = limit
