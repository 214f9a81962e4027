"""Put what was made under another name in its place, so that no engine reads it unfinished."""

from __future__ import annotations

from pathlib import Path


def move_folder(made: Path, folder: Path) -> None:
    """Move a finished folder to its place, unless another process made the same one sooner.

    Raises:
        OSError: it can't be moved there.
    """
    try:
        made.rename(folder)
    except OSError:
        # Systems name a folder that is there differently: it exists, or it is not empty.
        if not folder.is_dir():
            raise
