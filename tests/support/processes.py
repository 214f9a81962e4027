"""Child processes of a test on its event loop, from their start to the last trace of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any


@contextlib.asynccontextmanager
async def spawned(*command: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that has ended when the block does; `options` are those of `create_subprocess_exec`."""
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill a process that still runs, and close what the event loop keeps of it.

    The end of a process and the ends of its pipes reach the loop one by one. A test that returns between them
    leaves a transport behind, and its warning fails whichever test runs when it is collected.
    """
    process._transport.close()
    await process.wait()
    await asyncio.sleep(0)  # The pipes close in the loop's next turn.
