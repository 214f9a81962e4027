"""Editors with a real language server and a real engine; nothing they start outlives a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.editor import StartEditor, editors_in
from support.engines import stop_engines


@pytest.fixture
async def editor(tmp_path: Path) -> AsyncIterator[StartEditor]:
    """Start an editor: `ed = await editor(settings)`; those of one test share an engine, which ends with it."""
    async with editors_in(tmp_path) as start:
        yield start
    await asyncio.to_thread(stop_engines, tmp_path)


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A runtime folder whose engine serves all tests of a module."""
    folder = tmp_path_factory.mktemp("shared")
    yield folder
    stop_engines(folder)


@pytest.fixture
async def sharing(shared_folder: Path) -> AsyncIterator[StartEditor]:
    """Start an editor that joins the engine of its module's other tests."""
    async with editors_in(shared_folder) as start:
        yield start
