"""What the program's process runs: the program, or a driver with the program, and how it describes an exception.

Nothing here decides: a program that reaches these functions can change what is said of its failure, not the verdict.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

RAISED = 1
"""Exit status of a process whose program raised an exception."""

_CALL_DRIVER = compile("return_value(run(program, payload))", "<driver>", "exec")


def load(job: dict[str, Any], claim: int) -> tuple[CodeType, dict[str, Any]]:
    """Return the code to execute, and its surroundings: `names` to execute it with, `flush` and `stop`.

    A program that does not compile is described at once, and ends this process.
    """
    describe, flush = _describer(claim), _flusher()
    sys.excepthook = lambda _kind, error, _trace: _fail(describe, flush, error)
    names: dict[str, Any] = {}
    code = _CALL_DRIVER
    try:
        if job.get("driver") is None:
            # A bare namespace, as the reference judge has: `__name__` is not `__main__` there.
            code = compile(job["program"], "<string>", "exec", dont_inherit=True)
        else:
            names = {"__name__": "driver", "program": job["program"], "payload": job["payload"]}
            names["return_value"] = lambda value: _write(claim, pickle.dumps(value, 4))
            exec(compile(job["driver"], "<driver>", "exec", dont_inherit=True), names)
    except BaseException as error:
        _fail(describe, flush, error)
    return code, {"names": names, "flush": flush, "stop": signal.raise_signal}


def _fail(describe: Callable[[BaseException], None], flush: Callable[[], None], error: BaseException) -> None:
    try:
        flush()
        describe(error)
    finally:
        os._exit(RAISED)


def _describer(claim: int) -> Callable[[BaseException], None]:
    write = os.write

    def describe(error: BaseException) -> None:
        try:
            text = _describe(error).encode("utf-8", "replace")
        except BaseException:
            text = b"MemoryError"
        write(claim, text)

    return describe


def _describe(error: BaseException) -> str:
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException:
        text = "(its message raised too)"
    return f"{name}: {text}"[:500] if text else name


def _flusher() -> Callable[[], None]:
    streams = sys.stdout, sys.stderr

    def flush() -> None:
        for stream in streams:
            try:
                stream.flush()
            except BaseException:
                continue  # closed by the program, which is its right

    return flush


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
