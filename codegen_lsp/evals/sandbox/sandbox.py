"""Runs generated code where it can do no harm, and says how it ended.

Knows limits, walls and verdicts; what raises the walls is `confined/`. Every program gets a process of its own,
in a session and a folder of its own, with an environment of six harmless variables, and is killed with all that it
started. The walls, best first; `Sandbox` finds out by trying which this machine allows:

- `namespaces` (Linux): own user, process, network, mount and IPC namespaces, nothing mounted but Python and a
  small folder in memory, no rights, a filter of system calls, exact limits.
- `seccomp` (Linux without namespaces, most containers): a filter that denies the network, writing, new processes
  and signals to others; Landlock hides the files that are no part of Python, where the kernel has it.
- `hooks` (other systems): Python's audit hooks. They stop mistakes and no attack, so it takes `unsafe=True`.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import selectors
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from codegen_lsp.wire.errors import CodegenError

Level = Literal["namespaces", "seccomp", "hooks"]
LEVELS: tuple[Level, ...] = ("namespaces", "seccomp", "hooks")
RunOutcome = Literal["passed", "raised", "timeout", "killed", "flood", "silent"]

_CHILD = Path(__file__).parent / "confined" / "__main__.py"
_CANNOT_PROTECT = 97
_KEEP = 64 * 1024
"""Bytes of output that are kept to be shown."""
_MAX_REPORT = 1024 * 1024


class SandboxError(CodegenError):
    """The sandbox could not protect this machine, so nothing ran; says what to do about it."""


@dataclass(frozen=True)
class Limits:
    """What one program may use. Bytes and seconds."""

    seconds: float = 3.0
    """Wall-clock time; everything the program started is killed then. The processor's time has the same bound."""
    memory: int = 512 * 2**20
    """Address space of each process, and memory of all of them together."""
    processes: int = 4
    """Processes and threads at once (namespaces; a filter alone lets none start)."""
    file: int = 16 * 2**20
    """The largest file."""
    disk: int = 32 * 2**20
    """All files together."""
    output: int = 8 * 2**20
    """What may be written to standard output and error."""

    def to_json(self) -> dict[str, int]:
        """For the child process."""
        cpu = math.ceil(self.seconds) + 1
        keep = ("memory", "processes", "file", "disk")
        return {name: getattr(self, name) for name in keep} | {"cpu": cpu}


@dataclass(frozen=True)
class Result:
    """How a program ended."""

    outcome: RunOutcome
    """`passed`: it ran to its end; `raised`: an exception ended it; `timeout`; `killed`: a signal or a limit of
    memory ended it; `flood`: it wrote too much; `silent`: it left without a verdict (`os._exit`)."""
    message: str = ""
    """What a person wants to know: the exception, the signal, the limit."""
    value: Any = None
    """What the driver returned, for programs run through one."""
    output: str = ""
    """The first 64 KiB of standard output and error."""
    seconds: float = 0.0
    """Wall-clock time, the walls included."""

    @property
    def passed(self) -> bool:
        """Whether the program ran to its end."""
        return self.outcome == "passed"

    def verdict(self) -> str:
        """In the words of the reference judge: `passed`, `timed out`, or `failed: ` and why."""
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
        "processes": "a filter of system calls (none can be started)",
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
    """What protects this machine from the code, for reports."""

    level: Level
    landlock: bool = False
    missing: tuple[str, ...] = ()
    """Why the better levels are not to be had here."""

    def describe(self) -> dict[str, str]:
        """Each thing protected, and by what."""
        walls = dict(_WALLS[self.level])
        if self.landlock:
            walls["files"] += ", Landlock (only Python can be read)"
        return walls


@dataclass
class _Progress:
    """What came out of a running program so far."""

    output: bytearray = field(default_factory=bytearray)
    written: int = 0
    report: bytearray = field(default_factory=bytearray)
    ended: RunOutcome | None = None
    message: str = ""


class Sandbox:
    """A way to run programs. Has no state but the level it found; `run` may be called from several threads."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        level: Level | None = None,
        unsafe: bool = False,
        packages: bool = False,
    ) -> None:
        """Find the best walls of this machine, or take `level`.

        `packages`: the programs may import what is installed beside this project (numpy), else only the standard
        library. `unsafe`: run behind audit hooks where there is nothing better.

        Raises:
            SandboxError: there is nothing better than audit hooks, and `unsafe` is not set; or `level` is not to
                be had here.
        """
        self.limits = limits or Limits()
        self._packages = _package_paths() if packages else []
        self._readable = _readable(self._packages)
        self.walls = self._find(level, unsafe)

    def _find(self, wanted: Level | None, unsafe: bool) -> Walls:
        missing: list[str] = []
        for level in (wanted,) if wanted else LEVELS:
            if level == "hooks" and not unsafe:
                break
            for landlock in (True, False) if level == "seccomp" else (False,):
                walls = Walls(level, landlock, tuple(missing))
                try:
                    self._start(walls, "pass", None, None, Limits(seconds=20))
                except SandboxError as error:
                    missing.append(f"{level}{' with Landlock' if landlock else ''}: {error}")
                else:
                    return walls
        reasons = "; ".join(missing) or "only audit hooks were asked for"
        raise SandboxError(
            f"generated code can't be run safely here ({reasons}). Run the evaluation on Linux with user "
            "namespaces or seccomp, in a virtual machine or a container made for it, and pass --unsafe there to run "
            "it behind Python's audit hooks alone."
        )

    def run(
        self, program: str, *, driver: str | None = None, payload: object = None, limits: Limits | None = None
    ) -> Result:
        """Run a program to its end or its limit; nothing of it is left when this returns.

        `driver` is trusted Python source whose `run(program, payload)` is called in the sandbox instead of the
        program; what it returns (JSON) is the result's `value`.

        Raises:
            SandboxError: the walls could not be raised; nothing ran.
        """
        return self._start(self.walls, program, driver, payload, limits or self.limits)

    def _start(
        self, walls: Walls, program: str, driver: str | None, payload: object, limits: Limits
    ) -> Result:
        word = secrets.token_hex(16)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="codegen-sandbox-") as folder:
            job = {
                "level": walls.level,
                "landlock": walls.landlock,
                "limits": limits.to_json(),
                "program": program,
                "driver": driver,
                "payload": payload,
                "word": word,
                "parent": os.getpid(),
                "root": folder,
                "readable": self._readable,
                "packages": self._packages,
            }
            progress, status = _supervise(json.dumps(job).encode(), walls.level, folder, limits)
        return _result(progress, status, word, limits, time.monotonic() - began)


def _package_paths() -> list[str]:
    """Return this interpreter's folders of packages, also those that a virtual environment takes from the system."""
    paths = sysconfig.get_paths()
    named = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return list(dict.fromkeys((paths["purelib"], paths["platlib"], *named)))


def _readable(packages: Sequence[str]) -> list[str]:
    """Return the absolute paths a program may read, as the child needs them."""
    from codegen_lsp.evals.sandbox.confined import SYSTEM

    paths = sysconfig.get_paths()
    interpreter = [sys.base_prefix, paths["stdlib"], paths["platstdlib"]]
    return [*SYSTEM, *(p for p in (*interpreter, *packages) if Path(p).exists())]


def _environment() -> dict[str, str]:
    """All that a program gets to know of the environment: nothing of this process's."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
    }


def _supervise(job: bytes, level: Level, folder: str, limits: Limits) -> tuple[_Progress, int]:
    """Start the child, read what it says, and end it and everything below it; its exit status."""
    report_read, report_write = os.pipe()
    progress = _Progress()
    try:
        child = subprocess.Popen(
            _command(report_write),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
            cwd=folder,
            start_new_session=True,
            pass_fds=(report_write,),
        )
    except BaseException:
        os.close(report_read)
        raise
    finally:
        os.close(report_write)
    try:
        assert child.stdin is not None
        with suppress(BrokenPipeError):
            child.stdin.write(job)
        with suppress(BrokenPipeError):
            child.stdin.close()
        _watch(child, report_read, limits, progress)
    finally:
        status = _end(child, level)
        if child.stdout is not None:
            child.stdout.close()
        os.close(report_read)
    return progress, status


def _command(report: int) -> list[str]:
    # -I: no environment variables, no user's site; -S: no site-packages, so a start takes 10 ms.
    return [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(_CHILD), str(report)]


def _watch(child: subprocess.Popen[bytes], report: int, limits: Limits, progress: _Progress) -> None:
    """Read both pipes until they close, which is when every process that could write to them is gone."""
    assert child.stdout is not None
    deadline = time.monotonic() + limits.seconds
    look_at_memory = 0.05
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout.fileno(), selectors.EVENT_READ, "output")
        selector.register(report, selectors.EVENT_READ, "report")
        while selector.get_map() and progress.ended is None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                progress.ended, progress.message = "timeout", f"ran past {limits.seconds:g} s"
                return
            ready = selector.select(min(remaining, look_at_memory))
            for key, _ in ready:
                _read(key.fd, key.data, selector, limits, progress)
            if not ready and _memory(child.pid) > limits.memory:
                progress.ended, progress.message = "killed", "its processes used too much memory together"
    while progress.ended is None and not _has_ended(child):
        # It closed its output and goes on.
        time.sleep(0.002)
        if time.monotonic() > deadline:
            progress.ended, progress.message = "timeout", f"ran past {limits.seconds:g} s"


def _read(fd: int, kind: str, selector: selectors.BaseSelector, limits: Limits, progress: _Progress) -> None:
    chunk = os.read(fd, 1 << 16)
    if not chunk:
        selector.unregister(fd)
    elif kind == "report":
        progress.report += chunk
        if len(progress.report) > _MAX_REPORT:
            progress.ended, progress.message = "flood", "its verdict is too long"
    else:
        progress.written += len(chunk)
        progress.output += chunk[: max(0, _KEEP - len(progress.output))]
        if progress.written > limits.output:
            progress.ended, progress.message = "flood", f"wrote more than {limits.output} bytes"


def _memory(pid: int) -> int:
    """Resident bytes of a process and everything below it; 0 where the system doesn't say."""
    total, waiting = 0, [pid]
    while waiting:
        process = Path("/proc", str(waiting.pop()))
        with suppress(OSError, ValueError, IndexError):
            pages = int((process / "statm").read_text(encoding="ascii").split()[1])
            total += pages * os.sysconf("SC_PAGE_SIZE")
            for task in (process / "task").iterdir():
                waiting += map(int, (task / "children").read_text(encoding="ascii").split())
    return total


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether the child has ended; it stays a zombie where that is possible, so that its number stays its own."""
    if not hasattr(os, "waitid"):
        return child.poll() is not None
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(child: subprocess.Popen[bytes], level: Level) -> int:
    """End the child and all that is below it, and wait until it is gone; its exit status."""
    if level == "namespaces":
        # It ends its namespace, and itself once the kernel says that the last process in there is gone.
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            return child.wait(5)
    if child.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
    return child.wait()


def _result(progress: _Progress, status: int, word: str, limits: Limits, seconds: float) -> Result:
    output = progress.output.decode("utf-8", "replace")
    if progress.ended is not None:
        return Result(progress.ended, progress.message, None, output, seconds)
    report = _parse(progress.report)
    if status == _CANNOT_PROTECT and "unprotected" in report:
        raise SandboxError(str(report["unprotected"]))
    if report.get("word") == word:
        return Result(report["outcome"], report["message"], report.get("value"), output, seconds)
    number = -status if status < 0 else status - 128
    if number in {s.value for s in signal.Signals}:
        if number == signal.SIGXCPU or (number == signal.SIGKILL and seconds >= limits.seconds):
            return Result("timeout", "used up its processor time", None, output, seconds)
        return Result("killed", f"ended by {signal.Signals(number).name}", None, output, seconds)
    return Result("silent", f"left with status {status} and no verdict", None, output, seconds)


def _parse(report: bytearray) -> dict[str, Any]:
    try:
        body = json.loads(bytes(report))
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
