"""A test's child processes leave nothing on the event loop that a later test would be blamed for."""

from __future__ import annotations

import asyncio
import gc
import warnings

from support.fake_engine import until
from support.processes import spawned


def test_a_pipe_that_outlives_its_process_is_closed() -> None:
    """A grandchild keeps the pipes open, so the loop ends before they do."""

    async def leave() -> None:
        pipe = asyncio.subprocess.PIPE
        async with spawned("/bin/sh", "-c", "sleep 5 &", stdin=pipe, stdout=pipe, stderr=pipe) as process:
            await until(lambda: process.returncode is not None, 30)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        asyncio.run(leave())
        gc.collect()
    assert [str(warning.message) for warning in seen] == []
