"""Runs one program and says how it ended. The last thing between the walls and the code.

The verdict goes out over a pipe under a word that only this process was told, so that what a program writes to
its open files is not a verdict. (A program that searches this interpreter's memory could find the word; so it could
in every judge that runs a function and its tests in one interpreter.)
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn


def run(job: dict[str, Any], report: int) -> NoReturn:
    """Run the job's program (or its driver, with the program and the payload), report, and leave."""
    write, leave, dumps, flush = os.write, os._exit, json.dumps, _flusher()
    word = job.pop("word")
    ruined = dumps({"word": word, "outcome": "raised", "message": "MemoryError"}).encode()
    try:
        value = _execute(job)
        verdict = {"outcome": "passed", "message": "", "value": value}
    except BaseException as error:
        verdict = {"outcome": "raised", "message": _describe(error)}
    try:
        flush()
        body = dumps({"word": word, **verdict}).encode()
    except BaseException:
        body = ruined
    while body:
        body = body[write(report, body) :]
    leave(0)


def _execute(job: dict[str, Any]) -> Any:
    if job.get("driver") is None:
        # A bare namespace, as the reference judge has: `__name__` is not `__main__` there.
        exec(job["program"], {})
        return None
    namespace: dict[str, Any] = {"__name__": "driver"}
    exec(compile(job["driver"], "<driver>", "exec"), namespace)
    return namespace["run"](job["program"], job["payload"])


def _describe(error: BaseException) -> str:
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException:
        text = "(its message raised too)"
    return f"{name}: {text}"[:500] if text else name


def _flusher() -> Callable[[], None]:
    out, err = sys.stdout, sys.stderr

    def flush() -> None:
        out.flush()
        err.flush()

    return flush
