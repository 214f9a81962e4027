"""Limits of a program in the sandbox, how it ended, and what protects this machine from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from codegen_lsp.wire.errors import CodegenError

Level = Literal["namespaces", "seccomp", "hooks"]
LEVELS: tuple[Level, ...] = ("namespaces", "seccomp", "hooks")
RunOutcome = Literal["passed", "raised", "timeout", "killed", "flood", "silent"]


class SandboxError(CodegenError):
    """The sandbox can't confine a program on this machine, so it did not run; the message says what to do."""


@dataclass(frozen=True)
class Limits:
    """What one program may use, in bytes and seconds."""

    seconds: float = 3.0
    """Wall-clock time, after which all processes of the program are killed. Processor time has the same limit."""
    memory: int = 512 * 2**20
    """Address space of each process, and memory of all of them together."""
    processes: int = 4
    """Concurrent processes and threads (namespaces)."""
    threads: int = 64
    """Concurrent threads where the program can't start processes (a filter alone)."""
    file: int = 16 * 2**20
    """Size of the largest file."""
    disk: int = 32 * 2**20
    """Size of all files."""
    output: int = 8 * 2**20
    """Bytes on standard output and error."""

    def to_json(self) -> dict[str, int]:
        """Return the limits for the child process."""
        cpu = math.ceil(self.seconds) + 1
        names = ("memory", "processes", "threads", "file", "disk")
        return {name: getattr(self, name) for name in names} | {"cpu": cpu}


@dataclass(frozen=True)
class Result:
    """How a program ended."""

    outcome: RunOutcome
    """`passed`: it ran to its end; `raised`: an exception ended it; `timeout`; `killed`: a signal or the memory limit
    ended it; `flood`: it wrote too much; `silent`: it left without an end or an exception (`os._exit`)."""
    message: str = ""
    """The exception, the signal or the limit, for people."""
    value: Any = None
    """What the driver returned or the judge made of it, for programs run through a driver."""
    output: str = ""
    """The first 64 KiB of standard output and error."""
    seconds: float = 0.0
    """Wall-clock time, including the time to raise the walls."""
    witnessed: bool = False
    """Whether the end of a passed program was seen from outside of its process (`confined/witness.py`)."""

    @property
    def passed(self) -> bool:
        """Return whether the program ran to its end."""
        return self.outcome == "passed"

    def verdict(self) -> str:
        """Return the verdict in the words of the reference judge: `passed`, `timed out`, or `failed: ` and why."""
        if self.passed:
            return "passed"
        return "timed out" if self.outcome == "timeout" else f"failed: {self.message}"


_WALLS: Mapping[Level, Mapping[str, str]] = {
    "namespaces": {
        "processes": "a process namespace, ended as a whole",
        "network": "an empty network namespace",
        "files": "a mount namespace with nothing but Python in it",
        "rights": "a user namespace and a filter of system calls",
    },
    "seccomp": {
        "processes": "a filter of system calls (none can be started), a limit on threads",
        "network": "a filter of system calls (no sockets)",
        "files": "a filter of system calls (nothing can be written)",
        "rights": "a filter of system calls",
    },
    "hooks": {
        "processes": "audit hooks (no protection from an attack)",
        "network": "audit hooks (no protection from an attack)",
        "files": "audit hooks (no protection from an attack)",
        "rights": "none",
    },
}


@dataclass(frozen=True)
class Walls:
    """What protects this machine from the program, and the verdict from it; for reports."""

    level: Level
    landlock: bool = False
    missing: tuple[str, ...] = ()
    """Why better levels are not available here."""
    witness: bool = False
    """Whether the end of a program is seen from outside of its process."""

    def describe(self) -> dict[str, str]:
        """Return what protects each thing."""
        walls = dict(_WALLS[self.level])
        if self.landlock:
            walls["files"] += ", Landlock (only Python can be read)"
        walls["verdict"] = "seen from another process" if self.witness else "taken from the program's process"
        return walls
