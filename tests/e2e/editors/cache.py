"""Where editors are installed and kept between runs, outside the repository; two runs never install at once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UnavailableError(Exception):
    """An editor, or a tool of its tests, can't be had here; the message says why, and what would change that."""


def folder(name: str) -> Path:
    """The folder of one editor or tool, below CODEGEN_LSP_EDITORS_CACHE or the user's cache."""
    chosen = os.environ.get("CODEGEN_LSP_EDITORS_CACHE")
    root = Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "codegen-lsp" / "editors"
    return root / name


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold an editor's folder, made where there is none, until its installation is finished."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
