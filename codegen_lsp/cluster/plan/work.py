"""Work of a simulation that shares processors: each piece gets on as fast as the number of others lets it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

Then = Callable[[], None]


class SharedWork:
    """Work that is under way: everything gets on at the same pace, which is slower where there are few processors."""

    def __init__(self, processors: float) -> None:
        """Begin at time 0 with nothing to do."""
        self.now = 0.0
        self._processors = processors
        self._progress = 0.0
        """Seconds of work that something which has been there from the start would have got done."""
        self._ends: list[tuple[float, int, Then]] = []
        self._number = 0

    def add(self, seconds: float, then: Then) -> None:
        """Begin work that takes `seconds` of a processor, and call `then` at its end."""
        self._number += 1
        heapq.heappush(self._ends, (self._progress + seconds, self._number, then))

    def run(self, limit: float) -> None:
        """Get on until a time, or until all work is done."""
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
