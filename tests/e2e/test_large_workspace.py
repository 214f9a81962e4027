"""A workspace of 100,000 files: what it costs the language server in memory, compared with a small one."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.editor import Editor
from support.engines import stop_engines

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

FOLDERS, FILES = 100, 1_000
STARTS = 2
DOCUMENT = "from part_7.module_70 import Circle\n\n\ndef area(circle: Circle) -> float:\n    return circle."


@dataclass(frozen=True)
class Cost:
    """What one workspace costs."""

    megabytes: float
    milliseconds: float
    """From the start of the process to the answer to `initialize`, the quickest of some starts."""


def workspace(folder: Path, files: int) -> Path:
    """A workspace in which the document imports a class from a folder of many modules."""
    for number in range(FOLDERS):
        part = folder / f"part_{number}"
        part.mkdir(parents=True)
        for module in range(files):
            os.close(os.open(part / f"module_{module}.py", os.O_CREAT))
    definition = (
        "class Circle:\n    def __init__(self, radius: float) -> None:\n        self.radius = radius\n"
    )
    (folder / "part_7" / "module_70.py").write_text(definition)
    (folder / ".gitignore").write_text("*.log\nbuild/\n")
    return folder


async def shown_files(editor: Editor, uri: str) -> list[str]:
    """The other files that a suggestion's prompt shows."""
    lines = DOCUMENT.split("\n")
    await editor.inline(uri, len(lines) - 1, len(lines[-1]), invoked=True)
    return [piece["path"] for piece in (await editor.last(uri))["prompt"]["otherFiles"]]


async def cost(folder: Path) -> Cost:
    times = []
    for _ in range(STARTS - 1):
        started = time.perf_counter()
        async with Editor(folder):
            times.append(time.perf_counter() - started)
    started = time.perf_counter()
    try:
        async with Editor(folder, {"otherFiles": "always", "minConfidence": 0}) as editor:
            times.append(time.perf_counter() - started)
            await editor.ready()
            uri = editor.open(DOCUMENT, "main.py")
            while not await shown_files(editor, uri):  # noqa: ASYNC110 - read in the background
                await asyncio.sleep(0.1)
            assert await shown_files(editor, uri) == ["part_7/module_70.py"]
            return Cost(editor.process.memory_info().rss / 2**20, 1e3 * min(times))
    finally:
        stop_engines(folder)


async def test_a_hundred_thousand_files_take_less_than_50_mib(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    # Folders with short names: an engine's socket is in them.
    small, large = (tmp_path_factory.mktemp(name) for name in ("small", "large"))
    try:
        await compare(small, large)
    finally:
        shutil.rmtree(large)


async def compare(small_folder: Path, large_folder: Path) -> None:
    small = await cost(workspace(small_folder, 0))
    large = await cost(workspace(large_folder, FILES))
    for name, each in (("no other files", small), (f"{FOLDERS * FILES:,} files", large)):
        print(f"{name}: {each.megabytes:.1f} MiB, initialize after {each.milliseconds:.0f} ms")
    assert large.megabytes - small.megabytes < 50
