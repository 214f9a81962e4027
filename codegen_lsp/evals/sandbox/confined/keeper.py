"""The keeper waits for the program's process and judges how it ended.

It holds what the program must not reach: the pipe of the report, and the secret that a result is compared with.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

from codegen_lsp.evals.sandbox.confined import claims, program
from codegen_lsp.evals.sandbox.confined.witness import Witness

CANNOT_PROTECT = 97
MAX_CLAIM = 2**20


def keep(process: int, pipe: int, proc: int | None, judge: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Wait for the program's process; return this process's exit status and the report."""
    with suppress(OSError, ImportError):
        import fcntl

        fcntl.fcntl(pipe, 1031, MAX_CLAIM)  # F_SETPIPE_SZ: a result is written before it is read
    witness: Witness | None = None
    status = _wait(process)
    if not os.WIFSTOPPED(status):
        early = os.waitstatus_to_exitcode(status)
        if early == CANNOT_PROTECT:
            return CANNOT_PROTECT, {}
        return 0, _failure(early, _read(pipe))  # it does not compile
    with suppress(OSError, ValueError):
        witness = Witness(process, proc)
    os.kill(process, signal.SIGCONT)
    status = _wait(process)
    if not os.WIFSTOPPED(status):
        return 0, _failure(os.waitstatus_to_exitcode(status), _read(pipe))
    genuine = witness is None or witness.sees_the_same_place()
    # Stopped for good: no handler and no other thread of it runs again.
    os.kill(process, signal.SIGKILL)
    if not genuine:
        return 0, {"outcome": "killed", "message": "stopped itself"}
    return 0, _success(_read(pipe), judge) | {"witnessed": witness is not None}


def _wait(process: int) -> int:
    """Return the status of the process when it stops or ends; reap what else ends (the keeper may be process 1)."""
    while True:
        pid, status = os.waitpid(-1, os.WUNTRACED)
        if pid == process:
            return status


def _failure(code: int, claim: bytes) -> dict[str, Any]:
    if code == program.RAISED and claim:
        return {"outcome": "raised", "message": claim.decode("utf-8", "replace")[:500]}
    if code == -signal.SIGXCPU:
        return {"outcome": "timeout", "message": "used up its processor time"}
    if code < 0:
        return {"outcome": "killed", "message": f"ended by {signal.Signals(-code).name}", "signal": -code}
    return {"outcome": "silent", "message": f"left with status {code} and no verdict"}


def _success(claim: bytes, judge: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a program that ran to its end: its value, or what the judge says of it."""
    if not claim:
        return {"outcome": "passed", "message": "", "value": None}
    try:
        value = claims.load(claim)
    except Exception as error:
        return {"outcome": "raised", "message": f"its result is not plain data: {error}"[:500]}
    if judge["source"] is not None:
        names: dict[str, Any] = {"__name__": "judge"}
        exec(compile(judge["source"], "<judge>", "exec", dont_inherit=True), names)
        value = names["judge"](value, judge["secret"])
    return {"outcome": "passed", "message": "", "value": value}


def _read(pipe: int) -> bytes:
    os.set_blocking(pipe, False)
    content = b""
    with suppress(BlockingIOError):
        while chunk := os.read(pipe, 1 << 16):
            content += chunk
            if len(content) > MAX_CLAIM:
                break
    return content


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of the content."""
    while content:
        content = content[os.write(descriptor, content) :]
