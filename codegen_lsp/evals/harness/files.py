"""Read and find text files, and skip everything that only looks like one.

A folder may hold a FIFO that blocks the reader, a device that never ends, a socket, or a file of many gigabytes.
Only regular files up to a limit are read, and walks over folders pass over all others.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from codegen_lsp.evals.harness.records import DataError

MAX_BYTES = 16 * 2**20
"""Largest text file that is read; source files are far smaller."""
SKIPPED = frozenset(
    ("node_modules", "venv", ".venv", "__pycache__", "build", "dist", "target", "site-packages")
)
"""Folders of generated or foreign code, which walks leave out; so are hidden folders."""


def read_regular_file(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: it is missing, not a regular file, larger than `limit` bytes, or not readable.
    """
    if not stat.S_ISDIR(mode := path.stat().st_mode) and not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file")  # and opening a device may do something
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor, not a path
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit // 2**20} MiB")
    return content


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        DataError: it is missing, not a regular file of moderate size, or not UTF-8.
    """
    try:
        text = read_regular_file(path).decode("utf-8")
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
