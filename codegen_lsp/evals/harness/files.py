"""Read and find text files, and skip everything that only looks like one.

A folder may hold a FIFO that blocks the reader, a device that never ends, a socket, or a file of many gigabytes.
Only regular files up to a limit are read, and walks over folders pass over all others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from codegen_lsp.evals.harness.records import DataError
from codegen_lsp.regular_file import read_regular_file

MAX_BYTES = 16 * 2**20
"""Largest text file that is read; source files are far smaller."""
SKIPPED = frozenset(
    ("node_modules", "venv", ".venv", "__pycache__", "build", "dist", "target", "site-packages")
)
"""Folders of generated or foreign code, which walks leave out; so are hidden folders."""


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        DataError: it is missing, not a regular file of moderate size, or not UTF-8.
    """
    try:
        text = read_regular_file(path, MAX_BYTES).decode("utf-8")
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"can't read {path}: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text_or_nothing(path: Path) -> str:
    """Return the text of a file, or the empty text if it can't be read."""
    try:
        return read_text(path)
    except DataError:
        return ""


def walk(root: Path) -> Iterator[Path]:
    """Yield the regular files below a folder, in order, without links, hidden and generated folders."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in SKIPPED or entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
