"""Read a file whose name comes from a user, an editor or a stranger's folder.

Such a name may lead to a FIFO that blocks its reader, a device that never ends, or a file of many gigabytes.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_FLAGS = ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
"""To open a FIFO without O_NONBLOCK waits for a writer. Not every system has all flags."""


class UnsuitableFileError(OSError):
    """A file that is not a regular one, or is too large."""


def read_regular_file(path: str | Path, limit: int, *, links: bool = True) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Args:
        path: The file.
        limit: Maximum size in bytes.
        links: Follow a symbolic link; otherwise a link is not a regular file.

    Raises:
        UnsuitableFileError: it is not a regular file, or larger than `limit` bytes.
        OSError: it is missing, a folder, or not readable.
        ValueError: no file can have this name.
    """
    before = Path(path).stat(follow_symlinks=links)  # opening a device may do something
    if not stat.S_ISDIR(before.st_mode):
        _check(before, limit)

    def opened(name: str, flags: int) -> int:
        names = _FLAGS if links else (*_FLAGS, "O_NOFOLLOW")
        return os.open(name, flags | sum(getattr(os, each, 0) for each in names))

    with open(path, "rb", opener=opened) as file:  # a method of a path takes no opener
        _check(os.fstat(file.fileno()), limit)
        content = file.read(limit + 1)
    if len(content) > limit:  # it grew
        raise UnsuitableFileError(_too_large(limit))
    return content


def _check(status: os.stat_result, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsuitableFileError("not a regular file")
    if status.st_size > limit:
        raise UnsuitableFileError(_too_large(limit))


def _too_large(limit: int) -> str:
    mega, remainder = divmod(limit, 2**20)
    return f"larger than {limit} bytes" if remainder else f"larger than {mega} MiB"
