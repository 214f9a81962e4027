"""Run generated code where it can do no harm, and say how it ended.

`confined/` raises the walls, `supervision` starts and ends processes, `results` has the limits and verdicts. Every
program gets a process, a session and a folder, an environment of six harmless variables, and is killed with all that
it started. The walls, best first; `Sandbox` finds out by trying which ones this machine allows:

- `namespaces` (Linux): user, process, network, mount and IPC namespaces, nothing mounted but Python and a small folder
  in memory, no rights, a filter of system calls, exact limits.
- `seccomp` (Linux without namespaces, most containers): a filter that denies the network, writing, new processes and
  signals to others; another user than root; Landlock hides all files but Python's, if the kernel has it.
- `hooks` (other systems): Python's audit hooks. They stop mistakes but no attack, so they require `unsafe=True`.

The verdict comes from another process than the program's, which has no secret, no pipe and no frame that could forge
it (`confined/witness.py`). Two limits remain, and the reference has them too. A function and its tests run in one
interpreter, so a program may pass by returning an object that is equal to everything, by replacing what the tests call,
or by reading the expected values from the tests. And a program that loads machine code can do what its process can.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codegen_lsp.evals.sandbox.results import LEVELS, Level, Limits, Result, RunOutcome, SandboxError, Walls
from codegen_lsp.evals.sandbox.supervision import Progress, supervise

__all__ = ["LEVELS", "Judging", "Level", "Limits", "Result", "RunOutcome", "Sandbox", "SandboxError", "Walls"]

_CANNOT_PROTECT = 97


@dataclass(frozen=True)
class Judging:
    """How a result is judged outside of the program's process."""

    source: str
    """Trusted Python source whose `judge(value, secret)` gets what the driver returned, as plain data."""
    secret: object = None
    """What the program must not know, such as the expected value (JSON)."""


class Sandbox:
    """Runs programs. Its only state is the level that it found; `run` may be called from several threads."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        level: Level | None = None,
        unsafe: bool = False,
        packages: bool = False,
    ) -> None:
        """Find the best walls of this machine, or take `level`.

        Args:
            limits: Limits of every program, unless `run` gets others.
            level: The only level to try.
            unsafe: Allow audit hooks if there is nothing better.
            packages: Let programs import installed packages (numpy) besides the standard library.

        Raises:
            SandboxError: nothing better than audit hooks is available, and `unsafe` is not set; or `level` is not
                available.
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
                    result = self._start(walls, self._job("pass", None, None), None, Limits(seconds=20))
                except SandboxError as error:
                    missing.append(f"{level}{' with Landlock' if landlock else ''}: {error}")
                    continue
                if result.passed:
                    return replace(walls, witness=result.witnessed)
        reasons = "; ".join(missing) or "only audit hooks were asked for"
        raise SandboxError(
            f"generated code can't be run safely here ({reasons}). Run the evaluation on Linux with user "
            "namespaces or seccomp, in a virtual machine or a container made for it, and pass --unsafe there to run "
            "it behind Python's audit hooks alone."
        )

    def run(
        self,
        program: str,
        *,
        driver: str | None = None,
        payload: object = None,
        judging: Judging | None = None,
        limits: Limits | None = None,
    ) -> Result:
        """Run a program to its end or its limit; no process of it is left when this returns.

        `driver` is Python source whose `run(program, payload)` is called in the program's process instead of the
        program. What it returns, plain data, is the result's `value`, and only as trustworthy as the program. With
        `judging`, the value is what the judge makes of it in another process.

        Raises:
            SandboxError: the walls could not be raised; nothing ran.
        """
        return self._start(self.walls, self._job(program, driver, payload), judging, limits or self.limits)

    def _job(self, program: str, driver: str | None, payload: object) -> dict[str, Any]:
        return {
            "program": program,
            "driver": driver,
            "payload": payload,
            "readable": self._readable,
            "packages": self._packages,
        }

    def _start(self, walls: Walls, job: dict[str, Any], judging: Judging | None, limits: Limits) -> Result:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="codegen-sandbox-") as folder:
            job = {
                **job,
                "level": walls.level,
                "landlock": walls.landlock,
                "limits": limits.to_json(),
                "parent": os.getpid(),
                "root": folder,
            }
            judge = {"source": judging and judging.source, "secret": judging and judging.secret}
            progress, status = supervise(_part(job) + _part(judge), walls.level, folder, limits)
        result = _result(progress, status, limits, time.monotonic() - began)
        if result.passed and walls.witness and not result.witnessed:
            return replace(result, outcome="killed", message="its end was not seen", value=None)
        return result


def _part(value: object) -> bytes:
    """Return one part of a job: its length and its JSON."""
    content = json.dumps(value).encode()
    return struct.pack(">Q", len(content)) + content


def _package_paths() -> list[str]:
    """Return this interpreter's folders of packages, also those that a virtual environment takes from its base."""
    paths = sysconfig.get_paths()
    named = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return list(dict.fromkeys((paths["purelib"], paths["platlib"], *named)))


def _readable(packages: Sequence[str]) -> list[str]:
    """Return the absolute paths that a program may read."""
    from codegen_lsp.evals.sandbox.confined import SYSTEM

    paths = sysconfig.get_paths()
    interpreter = [sys.base_prefix, paths["stdlib"], paths["platstdlib"]]
    return [*SYSTEM, *(p for p in (*interpreter, *packages) if Path(p).exists())]


def _result(progress: Progress, status: int, limits: Limits, seconds: float) -> Result:
    output = progress.output.decode("utf-8", "replace")
    if progress.ended is not None:
        return Result(progress.ended, progress.message, None, output, seconds)
    report = _parse(progress.report)
    if status == _CANNOT_PROTECT and "unprotected" in report:
        raise SandboxError(str(report["unprotected"]))
    if "outcome" in report:
        if report.get("signal") == signal.SIGKILL and seconds >= limits.seconds:
            return Result("timeout", "used up its processor time", None, output, seconds)
        witnessed = report.get("witnessed") is True
        return Result(report["outcome"], report["message"], report.get("value"), output, seconds, witnessed)
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
