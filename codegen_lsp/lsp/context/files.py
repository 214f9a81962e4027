"""The files of the workspace folders, read with care. The only module of this room that opens anything.

Opens regular files inside the workspace folders alone: never a link that leads out of them, a FIFO, a device, or an
excluded file. Walks over no folder, so that the size of a workspace costs nothing.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from cachetools import LRUCache

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.context.exclusion import is_excluded
from codegen_lsp.lsp.context.globs import IgnoreRules
from codegen_lsp.regular_file import read_regular_file

CACHED_CHARACTERS = 4 * 2**20
"""Characters of files that are kept, so that an unchanged file is read once."""
IGNORE_BYTES = 256 * 1024
"""The longest `.gitignore` that is read."""
MAX_NAMES = 2000
"""Number of names of a folder that are looked at."""
LONGEST_PATH = 4096
"""Characters of the longest path that is looked at."""

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """How much one gathering may read."""

    files: int = 40
    bytes: int = 256 * 1024
    """Size of the largest file that is read."""
    seconds: float = 0.4
    """Processor time; a busy machine takes longer for the same files."""
    wall_seconds: float = 10.0
    """Time after which a slow file system is left alone."""


class WorkspaceFiles:
    """The readable files below some folders, with what was read of them."""

    def __init__(self, folders: Sequence[str], patterns: Sequence[str] = ()) -> None:
        self.folders = tuple(dict.fromkeys(os.path.realpath(folder) for folder in folders))
        self.patterns = tuple(patterns)
        self._texts: LRUCache[str, tuple[Stamp, str | None]] = LRUCache(
            CACHED_CHARACTERS, getsizeof=lambda entry: len(entry[1] or "") + 200
        )
        self._ignores: LRUCache[str, tuple[list[Stamp | None], IgnoreRules | None]] = LRUCache(500)

    def place(self, path: str) -> tuple[str, tuple[str, ...]] | None:
        """Return the innermost workspace folder that holds a path, and the path's parts below it."""
        path = os.path.normpath(path)
        inside = [f for f in self.folders if path.startswith(os.path.join(f, ""))]
        if not inside:
            return None
        folder = max(inside, key=len)
        return folder, tuple(path[len(os.path.join(folder, "")) :].split(os.sep))

    def real(self, path: str) -> str | None:
        """Return where a path leads; None if that is not inside a workspace folder."""
        try:
            real = os.path.realpath(path)
        except (OSError, ValueError):
            return None
        return real if self.place(real) is not None else None

    def shown(self, path: str) -> str:
        """Return a path as people write it: below its workspace folder, with slashes."""
        place = self.place(path)
        if place is None:
            return os.path.basename(path)
        prefix = (os.path.basename(place[0]),) if len(self.folders) > 1 else ()
        return "/".join((*prefix, *place[1]))

    def excludes(self, path: str) -> bool:
        """Return whether a file is excluded, by its name or by that of the file that it links to.

        A path outside of the workspace folders is excluded by the patterns alone.
        """
        if len(path) > LONGEST_PATH:
            return True
        try:
            paths = (os.path.abspath(path), os.path.realpath(path))
        except (OSError, ValueError):
            return True
        inside = [each for each in paths if self.place(each) is not None]
        return any(self._excludes(each) for each in dict.fromkeys(inside or paths))

    def _excludes(self, path: str) -> bool:
        place = self.place(path)
        if place is None:
            parts = [part for part in os.path.splitdrive(path)[1].split(os.sep) if part]
            return is_excluded(parts, self.patterns, lambda _: None)
        folder, below = place
        return is_excluded(below, self.patterns, partial(self._ignored, folder))

    def _ignored(self, folder: str, parts: tuple[str, ...]) -> IgnoreRules | None:
        """Return the patterns of the `.gitignore` in a folder, and of git's own list at the top."""
        path = os.path.join(folder, *parts)
        files = [os.path.join(path, ".gitignore")]
        files += [] if parts else [os.path.join(path, ".git", "info", "exclude")]
        stamps = [_stamp(file) for file in files]
        cached = self._ignores.get(path)
        if cached is not None and cached[0] == stamps:
            return cached[1]
        texts = [
            _read(file, IGNORE_BYTES) for file, each in zip(files, stamps, strict=True) if each is not None
        ]
        written = [
            line for text in reversed(texts) for line in (text or b"").decode("utf-8", "replace").splitlines()
        ]
        rules = IgnoreRules.read(written) if written else None
        self._ignores[path] = stamps, rules
        return rules

    def text(self, real: str, limit: int) -> str | None:
        """Return the text of a file by its real path, with `\\n` as line ends; None if it may not or can't be read."""
        stamp = _stamp(real)
        if stamp is None or stamp[1] > limit:
            return None
        cached = self._texts.get(real)
        if cached is not None and cached[0] == stamp:
            return cached[1]
        content = _read(real, limit)
        text = _decoded(content) if content is not None else None
        if len(text or "") < CACHED_CHARACTERS // 4:
            self._texts[real] = stamp, text
        return text


@dataclass
class BoundedReading:
    """What one gathering reads: within its limits, until its deadline, documents as the editor has them."""

    files: WorkspaceFiles
    documents: Mapping[str, str] = field(default_factory=dict)
    """Texts of open documents by real path."""
    limits: ReadingLimits = ReadingLimits()
    paths: list[str] = field(default_factory=list)
    """Real paths of the files that were read, in order."""

    def __post_init__(self) -> None:
        self._end = time.thread_time() + self.limits.seconds
        self._wall_end = time.monotonic() + self.limits.wall_seconds
        self._excluded: dict[str, bool] = {}
        self._real: dict[str, str | None] = {}

    @property
    def is_over(self) -> bool:
        """Whether a limit is reached."""
        is_late = time.thread_time() >= self._end or time.monotonic() > self._wall_end
        return is_late or len(self.paths) >= self.limits.files

    def find(self, path: str) -> str | None:
        """Return the real path of a file that may be shown; None if there is none."""
        if len(path) > LONGEST_PATH:
            return None
        path = os.path.normpath(path)
        if path not in self._real:
            self._real[path] = None if self.is_over else self._allowed(path)
        return self._real[path]

    def _allowed(self, path: str) -> str | None:
        real = self.files.real(path)
        if real is None or (real not in self.documents and not _is_regular(real)):
            return None
        return None if self.files.excludes(path) else real

    def text(self, real: str) -> str | None:
        """Return the text of a file that `find` has found; None if it can't be read, or a limit is reached."""
        if real in self.documents:
            text = self.documents[real]
            return text if len(text) <= self.limits.bytes else None
        if real not in self.paths:
            if self.is_over:
                return None
            self.paths.append(real)
        return self.files.text(real, self.limits.bytes)

    def names(self, folder: str) -> tuple[str, ...]:
        """Return the names in a folder, in order; none for a folder outside of the workspace."""
        if self.is_over or len(folder) > LONGEST_PATH or not self._may_list(folder):
            return ()
        try:
            with os.scandir(folder) as entries:
                return tuple(sorted(entry.name for entry, _ in zip(entries, range(MAX_NAMES), strict=False)))
        except OSError:
            return ()

    def _may_list(self, folder: str) -> bool:
        real = os.path.realpath(folder)
        return real in self.files.folders or self.files.place(real) is not None


def _stamp(path: str) -> Stamp | None:
    """Return what changes if a file does; None if it is not a regular file."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _is_regular(path: str) -> bool:
    return _stamp(path) is not None


def _read(path: str, limit: int) -> bytes | None:
    """Return the content of a regular file of at most `limit` bytes; None for all others."""
    try:
        return read_regular_file(path, limit, links=False)
    except (OSError, ValueError):
        return None


def _decoded(content: bytes) -> str | None:
    """Return the text of a source file; None for a binary one."""
    if b"\0" in content:
        return None
    try:
        return lines.normalize(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return None
