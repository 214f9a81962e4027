"""Work that the client shows progress of, with a button to stop it.

Knows `$/progress`, and how its cancel differs from the cancel of a request. Knows nothing of the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from lsprotocol import types

from codegen_lsp.lsp.server.server import StrictServer

T = TypeVar("T")

ReportPercent = Callable[[int], None]
"""Called with the percentage that is done."""


async def cancellable(
    server: StrictServer, title: str, work: Callable[[ReportPercent], Coroutine[Any, Any, T]]
) -> T | None:
    """Return what the work gives; None if the user has stopped it.

    Raises:
        asyncio.CancelledError: the request itself was cancelled; its answer says so.
    """
    async with _progress(server, title) as (cancelled, report):
        task = asyncio.ensure_future(work(report))
        cancelled.add_done_callback(lambda _: task.cancel())
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            if not cancelled.done():
                raise
            return None


@asynccontextmanager
async def _progress(
    server: StrictServer, title: str
) -> AsyncIterator[tuple[asyncio.Future[None], ReportPercent]]:
    """Show progress if the client can; yields a future that is done on cancel, and the function to report with."""
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    if not server.supports("window", "work_done_progress"):
        yield cancelled, lambda _: None
        return
    token, progress = uuid.uuid4().hex, server.work_done_progress
    with contextlib.suppress(Exception):  # A client that has progress and refuses a token works without.
        await progress.create_async(token)
    progress.begin(token, types.WorkDoneProgressBegin(title, cancellable=True))
    # pygls cancels the token's future when the user cancels.
    progress.tokens[token].add_done_callback(lambda _: cancelled.cancel())
    try:
        yield (
            cancelled,
            lambda percent: progress.report(token, types.WorkDoneProgressReport(percentage=percent)),
        )
    finally:
        progress.tokens.pop(token, None)
        progress.end(token, types.WorkDoneProgressEnd())
