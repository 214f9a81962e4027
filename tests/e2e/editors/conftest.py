"""Fixtures of the editors' tests, and a rerun for tests that drive a real editor.

Editors, browsers and terminals have timing of their own, so a failed test of them is run once more. Only the tests
marked `editor` are rerun; every other test has to pass the first time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.editors import install_emacs, shapes
from e2e.editors.cache import EditorUnavailableError
from e2e.editors.install_emacs import Emacs

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow each test of this folder that drives an editor one rerun."""
    for item in items:
        if item.path.is_relative_to(FOLDER) and item.get_closest_marker("editor"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="module")
def runtime() -> Iterator[Path]:
    """The folder of the engine that the tests of a module share."""
    with shapes.engine_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def emacs() -> Emacs:
    try:
        return install_emacs.install()
    except EditorUnavailableError as reason:
        pytest.skip(f"Emacs can't be installed here: {reason}")
