"""Limits that the kernel keeps for a process of the sandbox."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path


def threads_of_user() -> int:
    """Return how many threads the user of this process has; the limit on processes counts them all."""
    user, count = os.getuid(), 0
    for entry in os.scandir("/proc"):
        with suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == user:
                count += sum(1 for _ in Path(entry.path, "task").iterdir())
    return count


def set_limits(limits: dict[str, int], processes: int | None = None) -> None:
    """Set the limits that the kernel keeps for each process; it kills a process that exceeds its processor time."""
    wanted = {
        "RLIMIT_AS": limits["memory"],
        "RLIMIT_CPU": limits["cpu"],
        "RLIMIT_FSIZE": limits["file"],
        "RLIMIT_NOFILE": 64,
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_SIGPENDING": 64,
        "RLIMIT_NPROC": processes,
    }
    for name, value in wanted.items():
        kind = getattr(resource, name, None)
        if kind is None or value is None:
            continue
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
