"""An evaluation's folder: its settings, and logs that lose no finished line.

Knows files. Every finished piece of work is one line of JSON, appended and flushed to the disk before the next is
begun, so that Ctrl-C, a kill or a power cut at any moment costs only what was in the making. Started again with the
same settings, an evaluation reads its logs and goes on; with other settings it refuses.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from codegen_lsp.wire.errors import CodegenError


class EvaluationError(CodegenError):
    """An evaluation can't start or go on; the message says what to do.

    ```
    EvaluationError
    └── DataError       a file of a benchmark, or of an earlier run, is missing or not what it should be
    ```
    """


class DataError(EvaluationError):
    """A file is missing or not what it should be."""


class Log:
    """Lines of JSON that are only ever added to. Use from one thread."""

    def __init__(self, path: Path) -> None:
        """Read what is there; half a line at the end (from a kill in the middle of writing) is cut off.

        Raises:
            DataError: a line before the last is no JSON object.
        """
        self.path = path
        self.records: list[dict[str, Any]] = []
        whole = self._read() if path.exists() else 0
        self._file: IO[bytes] = path.open("ab")
        if self._file.tell() > whole:
            self._file.truncate(whole)

    def _read(self) -> int:
        """Take over the whole lines; the number of bytes that they fill."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                raise DataError(
                    f"line {number} of {self.path} is no JSON object; take the line out, or use another --out"
                )
            self.records.append(record)
        return whole

    def append(self, *records: Mapping[str, Any]) -> None:
        """Add records; they are on the disk when this returns."""
        lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records)
        self._file.write(lines.encode("utf-8", "surrogatepass"))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.records += map(dict, records)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Folder:
    """The folder of one evaluation, held by one process at a time."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Open the folder, or make it.

        Raises:
            EvaluationError: another process has it, or it was begun with other settings.
        """
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self._logs: dict[str, Log] = {}
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / ".lock").open("wb")
        except OSError as error:
            raise EvaluationError(f"can't write to {path}: {error.strerror}; choose another --out") from error
        try:
            _lock(self._lock)
            self._check_settings()
        except BaseException:
            self._lock.close()
            raise

    def _check_settings(self) -> None:
        file = self.path / "settings.json"
        if file.exists():
            before = read_json(file)
            names = sorted({*before, *self.settings})
            other = [n for n in names if before.get(n) != self.settings.get(n)]
            if other:
                changes = ", ".join(f"{n} {before.get(n)!r} and now {self.settings.get(n)!r}" for n in other)
                raise EvaluationError(
                    f"{self.path} was begun with other settings ({changes}); use these, or another --out"
                )
        else:
            write_atomically(file, json.dumps(self.settings, indent=2, ensure_ascii=False) + "\n")

    def log(self, name: str) -> Log:
        """The log of that name."""
        if name not in self._logs:
            self._logs[name] = Log(self.path / f"{name}.jsonl")
        return self._logs[name]

    def close(self) -> None:
        """Close the logs and let go of the folder."""
        for log in self._logs.values():
            log.close()
        self._lock.close()

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise EvaluationError(f"another evaluation is writing to {Path(file.name).parent}") from error


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is either the old one or the new one, whatever happens in between."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: there is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"can't read {path}: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no JSON object")
    return content


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a `.jsonl` or `.jsonl.gz` file.

    Raises:
        DataError: it is missing, or a line is no JSON object.
    """
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise DataError(f"line {number} of {path} is no JSON: {error}") from error
                if not isinstance(record, dict):
                    raise DataError(f"line {number} of {path} is no JSON object")
                yield record
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"can't read {path}: {error}") from error
