"""Waiting times that double until they reach a limit."""

from __future__ import annotations


class Backoff:
    """Seconds to wait before the next start: 0.5, 1, 2, … 30."""

    def __init__(self, first: float = 0.5, longest: float = 30.0) -> None:
        self._first, self._longest = first, longest
        self.reset()

    def reset(self) -> None:
        """Begin again with the first waiting time."""
        self._next = self._first

    def take(self) -> float:
        """Return the waiting time; the next one is twice as long."""
        wait, self._next = self._next, min(self._next * 2, self._longest)
        return wait
