"""Programs to judge, a few at once, each distinct one once.

Knows the sandbox and threads. At low temperatures most samples of a problem are the same text: one run serves them
all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from codegen_lsp.evals.sandbox.sandbox import Limits, Result, Sandbox


class Judges:
    """A pool of sandboxes. Use as a context manager, from one event loop."""

    def __init__(self, sandbox: Sandbox, workers: int = 0) -> None:
        """`workers` programs run at once; 0 takes half of the processors, at most 8."""
        self._sandbox = sandbox
        self.workers = workers or max(1, min(8, (os.cpu_count() or 2) // 2))
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="judge")
        self._known: dict[tuple[str, str | None, str, Limits | None], asyncio.Future[Result]] = {}

    async def run(
        self,
        program: str,
        *,
        driver: str | None = None,
        payload: object = None,
        limits: Limits | None = None,
    ) -> Result:
        """How the program ends; see `Sandbox.run`. A program seen before is not run again."""
        key = (program, driver, repr(payload), limits)
        if key not in self._known:
            loop = asyncio.get_running_loop()
            work: Callable[[], Result] = lambda: self._sandbox.run(  # noqa: E731
                program, driver=driver, payload=payload, limits=limits
            )
            self._known[key] = asyncio.ensure_future(loop.run_in_executor(self._pool, work))
        return await asyncio.shield(self._known[key])

    def __enter__(self) -> Judges:
        return self

    def __exit__(self, *_: object) -> None:
        # What runs is over within its limit; what waits is not begun.
        self._pool.shutdown(wait=True, cancel_futures=True)
