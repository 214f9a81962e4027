"""Decide when a request that a busy server has refused is sent again.

A server says 429 or 503 when it has too much to do. Clients that all come back at once make that worse, so each waits
a random time around a growing one, or as long as `Retry-After` says if that is short enough for a person who types.
"""

from __future__ import annotations

import email.utils
import math
import random
import time

from codegen_lsp.wire.errors import NotReadyError, OverloadedError, WireError

ATTEMPTS = 3
"""Maximum number of times that a request is sent again."""
FIRST_SECONDS = 0.2
"""The mean of the first waiting time; each further one is twice as long."""
LONGEST_SECONDS = 5.0
"""A server that asks for more patience than this is not asked again."""
OWN_STATES = frozenset({"loading", "unloaded", "load-failed"})
"""Codes with which this project's engine says that its model is not there: the state of the engine tells more."""


class Retries:
    """The retries of one request."""

    def __init__(self) -> None:
        self._attempts = 0

    def wait(self, error: WireError) -> float | None:
        """Return the seconds after which to send the request again; None gives up."""
        if not isinstance(error, OverloadedError | NotReadyError) or error.code in OWN_STATES:
            return None
        self._attempts += 1
        requested = error.retry_after or 0.0
        if self._attempts > ATTEMPTS or requested > LONGEST_SECONDS:
            return None
        mean = FIRST_SECONDS * 2.0 ** (self._attempts - 1)
        return requested + random.uniform(0.5, 1.5) * mean


def retry_after(header: str) -> float | None:
    """Return the seconds in a `Retry-After` header, which holds a number or a date; None without a usable one."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError, OSError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
