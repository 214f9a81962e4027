"""How many cores this process may use; for both sides."""

from __future__ import annotations

import os


def core_count() -> int:
    """Return the number of cores that this process may use: of the machine, or those that it is bound to."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
