"""Editors with a real language server process and an engine that says what a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.editor import Editor, StartEditor, editors_in
from support.fake_engine import FakeEngine


@pytest.fixture
async def fake() -> AsyncIterator[FakeEngine]:
    async with FakeEngine() as engine:
        yield engine


@pytest.fixture
async def editor(tmp_path: Path, fake: FakeEngine) -> AsyncIterator[StartEditor]:
    """Start an editor whose server asks the fake engine, and wait until it is ready."""
    async with editors_in(tmp_path) as start_editor:

        async def start(settings: dict[str, Any] | None = None, **more: Any) -> Editor:
            settings = {"server": fake.url, "suffixRanking": False, "warm": False} | (settings or {})
            started = await start_editor(settings, **more)
            if settings["server"] == fake.url and fake.state == "ready" and settings.get("enabled", True):
                await started.ready()
            return started

        yield start
