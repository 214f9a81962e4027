"""Start the sandbox's child process, watch it, and end it with everything that it started."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from codegen_lsp.evals.sandbox.results import Level, Limits, RunOutcome

_CHILD = Path(__file__).parent / "confined" / "__main__.py"
_KEEP = 64 * 1024
"""Bytes of output that are kept to be shown."""
_MAX_REPORT = 1024 * 1024


@dataclass
class Progress:
    """Output, report and end of a running program so far."""

    output: bytearray = field(default_factory=bytearray)
    written: int = 0
    report: bytearray = field(default_factory=bytearray)
    ended: RunOutcome | None = None
    message: str = ""


def _environment() -> dict[str, str]:
    """Return the environment of a program, with nothing of this process's in it."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
    }


def supervise(job: bytes, level: Level, folder: str, limits: Limits) -> tuple[Progress, int]:
    """Start the child and read what it writes, then end it and all processes below it; return its exit status too."""
    report_read, report_write = os.pipe()
    progress = Progress()
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
    # -I: no environment variables and no user's site-packages; -S: no site-packages, so that a start takes 10 ms.
    return [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(_CHILD), str(report)]


def _watch(child: subprocess.Popen[bytes], report: int, limits: Limits, progress: Progress) -> None:
    """Read both pipes until they close, that is, until all processes that can write to them have ended."""
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
        # The program closed its output and goes on.
        time.sleep(0.002)
        if time.monotonic() > deadline:
            progress.ended, progress.message = "timeout", f"ran past {limits.seconds:g} s"


def _read(fd: int, kind: str, selector: selectors.BaseSelector, limits: Limits, progress: Progress) -> None:
    chunk = os.read(fd, 1 << 16)
    if not chunk:
        selector.unregister(fd)
    elif kind == "report":
        progress.report += chunk
        if len(progress.report) > _MAX_REPORT:
            progress.ended, progress.message = "flood", "its result is too long"
    else:
        progress.written += len(chunk)
        progress.output += chunk[: max(0, _KEEP - len(progress.output))]
        if progress.written > limits.output:
            progress.ended, progress.message = "flood", f"wrote more than {limits.output} bytes"


def _memory(pid: int) -> int:
    """Return the resident bytes of a process and all processes below it; 0 if the system doesn't say."""
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
    """Return whether the child has ended; it stays a zombie if possible, so that its number is not reused."""
    if not hasattr(os, "waitid"):
        return child.poll() is not None
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(child: subprocess.Popen[bytes], level: Level) -> int:
    """End the child and all processes below it, wait for it, and return its exit status."""
    if level == "namespaces":
        # The child ends its namespace, and itself when the last process in there is gone.
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            return child.wait(5)
    if child.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
    return child.wait()
