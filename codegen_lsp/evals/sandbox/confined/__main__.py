"""The child process of the sandbox: reads a job, raises the walls, runs the program behind them.

    codegen_lsp.evals.sandbox.sandbox ──▶ this process ──▶ (namespaces) first process ──▶ the program

Exit status: 0 once the program has reported, 97 where a wall could not be raised (the reason is on the report pipe),
128 + N where signal N ended the program, and else the program's own.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

CANNOT_PROTECT = 97


def main() -> NoReturn:
    """Run the job on standard input behind the walls of its level."""
    job = json.loads(sys.stdin.buffer.read())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.path[:0] = [p for p in job["packages"] if p not in sys.path]
    try:
        if job["level"] == "namespaces":
            _in_namespaces(job)
        elif job["level"] == "seccomp":
            _behind_a_filter(job)
        else:
            _behind_hooks(job)
    except OSError as error:
        _give_up(str(error))
    # Imported before the walls so that no file of this project has to be readable behind them.
    _run(job)


def _in_namespaces(job: dict[str, Any]) -> None:
    """Return in the program's process, two forks down; this process stays to wait for it."""
    from codegen_lsp.evals.sandbox.confined import harness, kernel, namespaces, seccomp  # noqa: F401

    namespaces.enter()
    kernel.die_with_parent(job["parent"])
    kernel.hide_from_debuggers()
    # Asked to end, this process ends the namespace and waits for it: nothing is left once it is gone.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    first = os.fork()
    if first:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        _leave_as(first)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    # In the first process of the namespace: when it ends, the kernel kills all the others.
    kernel.die_with_parent(os.getppid())
    _leave_by(job["limits"]["cpu"] + 5)
    namespaces.build_root(job["root"], job["readable"], job["limits"]["disk"])
    os.chdir(namespaces.WORK)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    program = os.fork()
    if program:
        _leave_as(program)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    namespaces.become_nobody()
    _limit(job["limits"], processes=job["limits"]["processes"])
    kernel.forbid_new_privileges()
    with suppress(seccomp.UnsupportedError):
        kernel.install_filter(seccomp.build(alone=False, pid=os.getpid()))


def _behind_a_filter(job: dict[str, Any]) -> None:
    from codegen_lsp.evals.sandbox.confined import harness, kernel, landlock, seccomp  # noqa: F401

    os.chdir("/")
    with suppress(OSError):
        kernel.drop_capabilities()
    kernel.die_with_parent(job["parent"])
    kernel.hide_from_debuggers()
    _limit(job["limits"])
    kernel.forbid_new_privileges()
    if job["landlock"]:
        landlock.allow_reading_only(job["readable"])
    kernel.install_filter(seccomp.build(alone=True, pid=os.getpid()))


def _behind_hooks(job: dict[str, Any]) -> None:
    from codegen_lsp.evals.sandbox.confined import harness, hooks  # noqa: F401

    _limit(job["limits"])
    hooks.install(job["readable"])


def _limit(limits: dict[str, int], processes: int | None = None) -> None:
    """Set the limits that the kernel keeps for each process; past the processor's the kernel kills."""
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


def _leave_as(child: int) -> NoReturn:
    """Wait for the child, and any orphan that comes this way, and leave with the child's status."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _leave_by(seconds: int) -> None:
    """End this process then, whatever happened to the ones that watch over it."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(CANNOT_PROTECT))
    signal.alarm(seconds)


def _give_up(reason: str) -> NoReturn:
    with suppress(OSError):
        os.write(int(sys.argv[1]), json.dumps({"unprotected": reason}).encode())
    os._exit(CANNOT_PROTECT)


def _run(job: dict[str, Any]) -> NoReturn:
    from codegen_lsp.evals.sandbox.confined import harness

    sys.path[:] = [p for p in sys.path if p != _ROOT or p in job["packages"]]
    harness.run(job, int(sys.argv[1]))


_ROOT = str(Path(__file__).resolve().parents[4])

if __name__ == "__main__":
    sys.path.insert(0, _ROOT)
    main()
