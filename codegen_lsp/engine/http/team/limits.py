"""Keep the users of an engine within the limits of their lines in the file of tokens."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass

from codegen_lsp.engine.http.team.users import User
from codegen_lsp.wire.errors import OverloadedError

BURST_SECONDS = 10.0
"""Requests may come as fast as they like until those of this many seconds are used up."""


@dataclass(slots=True)
class _Bucket:
    """A token bucket: holds the requests that a user may send at once, and is filled over time."""

    filled: float
    level: float

    def take(self, rate: int, now: float) -> float:
        """Take a request out and return 0, or return the seconds until there will be one."""
        per_second = rate / 60
        capacity = max(1.0, BURST_SECONDS * per_second)
        self.level = min(capacity, self.level + (now - self.filled) * per_second)
        self.filled = now
        if self.level < 1:
            return (1 - self.level) / per_second
        self.level -= 1
        return 0.0


class UserLimits:
    """The requests of the users now and in the last seconds."""

    def __init__(self) -> None:
        self._open: Counter[bytes] = Counter()
        self._buckets: dict[bytes, _Bucket] = {}

    def enter(self, user: User | None) -> None:
        """Count a request in, until `leave` is called.

        Raises:
            OverloadedError: the user may not send it now; `retry_after` says when.
        """
        if user is None:
            return
        if user.concurrent and self._open[user.digest] >= user.concurrent:
            message = f"{user.name} may have {user.concurrent} requests at the same time"
            raise _refused(message, "concurrency-limit", 1.0)
        if user.rate:
            now = time.monotonic()
            bucket = self._buckets.setdefault(user.digest, _Bucket(now, math.inf))
            if wait := bucket.take(user.rate, now):
                message = f"{user.name} may send {user.rate} requests a minute; try again in {wait:.0f} s"
                raise _refused(message, "rate-limit", wait)
        self._open[user.digest] += 1

    def leave(self, user: User | None) -> None:
        """Count a request out."""
        if user is not None:
            self._open[user.digest] -= 1
            if not self._open[user.digest]:
                del self._open[user.digest]


def _refused(message: str, code: str, seconds: float) -> OverloadedError:
    error = OverloadedError(message, code=code)
    error.retry_after = seconds
    return error
