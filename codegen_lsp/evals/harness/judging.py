"""Judge programs, a few at once, and each distinct program once.

At low temperatures most samples of a problem are the same text; one run in the sandbox serves them all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict, Unpack

from codegen_lsp.evals.sandbox.sandbox import Judging, Limits, Result, Sandbox


class RunOptions(TypedDict, total=False):
    """What `Sandbox.run` takes beside the program."""

    driver: str
    payload: object
    judging: Judging
    limits: Limits


class Judges:
    """A pool of sandboxes. Use as a context manager, from one event loop."""

    def __init__(self, sandbox: Sandbox, workers: int = 0) -> None:
        """Run up to `workers` programs at once; 0 for half of the processors, but no more than 8."""
        self._sandbox = sandbox
        self.workers = workers or max(1, min(8, (os.cpu_count() or 2) // 2))
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="judge")
        self._results: dict[tuple[str, str], asyncio.Future[Result]] = {}

    async def run(self, program: str, **options: Unpack[RunOptions]) -> Result:
        """Return how the program ends; see `Sandbox.run`. A program seen before is not run again."""
        key = (program, repr(sorted(options.items())))
        if key not in self._results:
            loop = asyncio.get_running_loop()
            work: Callable[[], Result] = lambda: self._sandbox.run(program, **options)  # noqa: E731
            self._results[key] = asyncio.ensure_future(loop.run_in_executor(self._pool, work))
        return await asyncio.shield(self._results[key])

    def __enter__(self) -> Judges:
        return self

    def __exit__(self, *_: object) -> None:
        # Running programs end within their limits; waiting ones are not started.
        self._pool.shutdown(wait=True, cancel_futures=True)
