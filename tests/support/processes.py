"""Child processes of a test on its event loop, from their start to the last trace of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from codegen_lsp.headless_editor import end


@contextlib.asynccontextmanager
async def spawned(*command: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that has ended when the block does, and of which the loop keeps nothing.

    A transport that is left behind would fail whichever test runs when it is collected. `options` are those of
    `create_subprocess_exec`.
    """
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        await end(process)
