"""Rerun a failed test of a real editor once: editors, browsers and terminals have timing of their own.

Only the tests marked `editor` are rerun; every other test has to pass the first time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow each test of this folder that drives an editor one rerun."""
    for item in items:
        if item.path.is_relative_to(FOLDER) and item.get_closest_marker("editor"):
            item.add_marker(pytest.mark.flaky(reruns=1))
