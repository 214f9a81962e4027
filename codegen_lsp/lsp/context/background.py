"""One thread that reads files while the language server goes on: the newest job of each document, one after another.

The thread is a daemon: a file system that never answers holds up neither a keystroke nor the server's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class BackgroundReader(Generic[T]):
    """Runs jobs in a thread; their results come back to the event loop that asked for them."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[Callable[[], T], Callable[[T], None], asyncio.AbstractEventLoop]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, key: str, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Run `work` in the thread and call `done` with its result; an older job of this key is dropped if it waits."""
        with self._lock:
            self._jobs[key] = work, done, asyncio.get_running_loop()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="other-files", daemon=True)
                self._thread.start()

    def forget(self, key: str) -> None:
        """Drop the job of a key if it waits."""
        with self._lock:
            self._jobs.pop(key, None)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._thread = None
                    return
                key = next(iter(self._jobs))
                work, done, loop = self._jobs.pop(key)
            try:
                result = work()
            except Exception:  # Whatever is in the files, the next job must run.
                logger.exception("other files can't be read")
                continue
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(done, result)
