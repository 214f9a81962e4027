"""The cache folder in which the editors are installed, outside the repository, with a lock for each editor."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class EditorUnavailableError(Exception):
    """An editor, or a tool of its tests, can't be installed here; the message says why, and what is required."""


def folder(name: str) -> Path:
    """Return the folder of one editor or tool, in CODEGEN_LSP_EDITORS_CACHE or the user's cache."""
    chosen = os.environ.get("CODEGEN_LSP_EDITORS_CACHE")
    root = Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "codegen-lsp" / "editors"
    return root / name


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Create an editor's folder if necessary, and lock it during the installation."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
