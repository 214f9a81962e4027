"""The child process of the sandbox: raises the walls, starts the program behind them, and keeps the verdict.

    sandbox.py ──▶ this process ──▶ (namespaces) first process ──▶ the program
                        └────── the keeper: one of these two ──────┘

The keeper forks the program's process, waits for it, and reports how it ended. The program's process holds neither the
report's pipe nor anything to compare results with (`secret` is read after the fork), and the only Python frame above
the program is this module's. What tells an end from an `os._exit(0)` is the place where the process stops itself: see
`witness.py`.

Exit status of the keeper: 0 when it has reported, 97 if a wall could not be raised (the report says why).
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

CANNOT_PROTECT = 97
CLAIM = 3
"""Descriptor on which the program's process says what it returned or raised; nothing there is a verdict."""
LAST_DESCRIPTOR = 256
_ROOT = str(Path(__file__).resolve().parents[4])


def prepare(report: int) -> tuple[CodeType, dict[str, Any]]:
    """Return, in the program's process and behind the walls, what to execute; the keeper does not return."""
    job = json.loads(_read_part())
    sys.path[:0] = [p for p in job["packages"] if p not in sys.path]
    try:
        if job["level"] == "namespaces":
            _in_namespaces(job, report)
        elif job["level"] == "seccomp":
            _behind_a_filter(job, report)
        else:
            _behind_hooks(job, report)
    except OSError as error:
        _give_up(report, str(error))
    from codegen_lsp.evals.sandbox.confined import program

    sys.path[:] = [p for p in sys.path if p != _ROOT or p in job["packages"]]
    return program.load(job, CLAIM)


def _read_part() -> bytes:
    """Read one part of the job from standard input, and not a byte more."""
    (length,) = struct.unpack(">Q", _read_exactly(8))
    return _read_exactly(length)


def _read_exactly(count: int) -> bytes:
    content = b""
    while len(content) < count:
        chunk = os.read(0, count - len(content))
        if not chunk:
            raise EOFError("the job ended early")
        content += chunk
    return content


def _in_namespaces(job: dict[str, Any], report: int) -> None:
    """Return in the program's process, two forks down."""
    from codegen_lsp.evals.sandbox.confined import keeper, kernel, limits, namespaces, program, seccomp  # noqa: F401

    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    namespaces.enter()
    kernel.die_with_parent(job["parent"])
    kernel.hide_from_debuggers()
    # At SIGTERM, this process ends the namespace and waits for it, so that no process of it is left.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    first = os.fork()
    if first:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        _leave_as(first)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    # The first process of the namespace is the keeper: when it ends, the kernel kills all the others.
    kernel.die_with_parent(os.getppid())
    _leave_by(job["limits"]["cpu"] + 5)
    namespaces.build_root(job["root"], job["readable"], job["limits"]["disk"])
    os.chdir(namespaces.WORK)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _fork_program(job, report, proc)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    namespaces.become_nobody()
    limits.set_limits(job["limits"], processes=job["limits"]["processes"])
    kernel.forbid_new_privileges()
    kernel.show_to_parent()
    _keep_only(CLAIM)
    with suppress(seccomp.UnsupportedError):
        kernel.install_filter(seccomp.build(alone=False, pid=os.getpid()))


def _behind_a_filter(job: dict[str, Any], report: int) -> None:
    """Return in the program's process, one fork down."""
    from codegen_lsp.evals.sandbox.confined import (  # noqa: F401
        keeper,
        kernel,
        landlock,
        limits,
        namespaces,
        program,
        seccomp,
    )

    os.chdir("/")
    kernel.die_with_parent(job["parent"])
    kernel.hide_from_debuggers()
    _fork_program(job, report, os.open("/proc", os.O_RDONLY | os.O_DIRECTORY))
    parent = os.getppid()
    privileges = _change_to_nobody(landlock=job["landlock"]) if os.getuid() == 0 else 0
    with suppress(OSError):
        kernel.drop_capabilities(privileges)
    # After the change of user, which clears it.
    kernel.die_with_parent(parent)
    limits.set_limits(job["limits"], processes=limits.threads_of_user() + job["limits"]["threads"])
    kernel.forbid_new_privileges()
    kernel.show_to_parent()
    if job["landlock"]:
        landlock.allow_reading_only(job["readable"])
    _keep_only(CLAIM)
    kernel.install_filter(seccomp.build(alone=True, pid=os.getpid()))


def _change_to_nobody(*, landlock: bool) -> int:
    """Become `nobody`, and return the privilege that is needed to read Python's own files: mostly none.

    Only root can read a Python below `/root`. The privilege to read any file is safe where Landlock hides all others.
    """
    from codegen_lsp.evals.sandbox.confined import kernel, namespaces

    kernel.keep_capabilities()
    namespaces.change_to_nobody()
    try:
        next(Path(os.__file__).parent.iterdir())
    except PermissionError:
        if not landlock:
            raise
        return kernel.READ_ANY_FILE
    return 0


def _behind_hooks(job: dict[str, Any], report: int) -> None:
    """Return in the program's process, one fork down."""
    from codegen_lsp.evals.sandbox.confined import hooks, keeper, limits, program  # noqa: F401

    _fork_program(job, report, None)
    limits.set_limits(job["limits"])
    _keep_only(CLAIM)
    hooks.install(job["readable"])


def _fork_program(job: dict[str, Any], report: int, proc: int | None) -> None:
    """Fork the program's process and return in it; the keeper stays here until that has ended."""
    from codegen_lsp.evals.sandbox.confined import keeper, limits

    claims, claim = os.pipe()
    process = os.fork()
    if not process:
        os.close(claims)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        _claim_descriptor[:] = [claim]
        return
    os.close(claim)
    judge = json.loads(_read_part())
    limits.set_limits(job["limits"])
    try:
        status, verdict = keeper.keep(process, claims, proc, judge)
        body = json.dumps(verdict).encode()
    except BaseException as error:
        reason = f"its result could not be judged: {type(error).__name__}: {error}"[:500]
        status, body = 0, json.dumps({"outcome": "raised", "message": reason}).encode()
    if status == 0:
        keeper.write_all(report, body)
    os._exit(status)


_claim_descriptor: list[int] = []


def _keep_only(claim: int) -> None:
    """Close every descriptor but the standard ones and `claim`, which takes the pipe for claims."""
    os.dup2(_claim_descriptor.pop(), claim)
    os.closerange(claim + 1, LAST_DESCRIPTOR)


def _leave_as(child: int) -> NoReturn:
    """Wait for the child, and exit with its status."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _leave_by(seconds: int) -> None:
    """End this process after that time, even if all processes above it are gone."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(CANNOT_PROTECT))
    signal.alarm(seconds)


def _give_up(report: int, reason: str) -> NoReturn:
    with suppress(OSError):
        os.write(report, json.dumps({"unprotected": reason}).encode())
    os._exit(CANNOT_PROTECT)


if __name__ == "__main__":
    sys.path.insert(0, _ROOT)
    code, namespace = prepare(int(sys.argv[1]))
    # The keeper remembers where this process stops first, and lets a program pass only if it stops there again. An
    # exception must leave this frame: a handler here would be a way for the program to get back to it.
    namespace["stop"](signal.SIGSTOP)
    exec(code, namespace["names"])
    namespace["flush"]()
    namespace["stop"](signal.SIGSTOP)
