"""An evaluation's folder: its settings, and logs that keep every finished line.

Every finished piece of work is one line of JSON, appended and flushed to the disk before the next one starts, so that
Ctrl-C, a kill or a power cut costs only unfinished work. Started again with the same settings, an evaluation reads
its logs and goes on; with other settings it refuses.
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
    """An evaluation can't start or continue; the message says what to do.

    ```
    EvaluationError
    └── DataError       a file of a benchmark or of an earlier run is missing or malformed
    ```
    """


class DataError(EvaluationError):
    """A file is missing or malformed."""


class Log:
    """An append-only file of JSON lines. Use from one thread."""

    def __init__(self, path: Path) -> None:
        """Read the file if it exists; cut off half a line at its end, which a kill left.

        Raises:
            DataError: another line is not a JSON object.
        """
        self.path = path
        self.records: list[dict[str, Any]] = []
        whole = self._read() if path.exists() else 0
        self._file: IO[bytes] = path.open("ab")
        if self._file.tell() > whole:
            self._file.truncate(whole)

    def _read(self) -> int:
        """Read the complete lines, and return the number of bytes that they fill."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise DataError(
                    f"line {number} of {self.path} is not a JSON object; remove the line, or use another --out"
                )
            self.records.append(record)
        return whole

    def rows(self, *fields: tuple[str, type]) -> Iterator[tuple[Any, ...]]:
        """Yield these fields of every record, as tuples.

        Raises:
            DataError: a record lacks a field, or has a value of another type; it was edited, or damaged.
        """
        for number, record in enumerate(self.records, 1):
            for name, kind in fields:
                if type(record.get(name)) is not kind:
                    raise DataError(
                        f"line {number} of {self.path} is not a record of this evaluation: {name!r} must be "
                        f"{kind.__name__}, got {record.get(name)!r}; remove the line, or use another --out"
                    )
            yield tuple(record[name] for name, _ in fields)

    def append(self, *records: Mapping[str, Any]) -> None:
        """Append records; they are on the disk when this returns."""
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
        """Open the folder, or create it.

        Raises:
            EvaluationError: another process uses it, it was begun with other settings, or it is not writable.
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
            differing = [n for n in names if before.get(n) != self.settings.get(n)]
            if differing:
                changes = ", ".join(
                    f"{n} {before.get(n)!r} and now {self.settings.get(n)!r}" for n in differing
                )
                raise EvaluationError(
                    f"{self.path} was begun with other settings ({changes}); use these, or another --out"
                )
        else:
            write_atomically(file, json.dumps(self.settings, indent=2, ensure_ascii=False) + "\n")

    def log(self, name: str) -> Log:
        """Return the log of that name."""
        if name not in self._logs:
            self._logs[name] = Log(self.path / f"{name}.jsonl")
        return self._logs[name]

    def close(self) -> None:
        """Close the logs and release the folder."""
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
    """Replace a file as a whole: after a crash it is either the old one or the new one."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        DataError: the file can't be read, or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"can't read {path}: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a JSON object")
    return content


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a `.jsonl` or `.jsonl.gz` file.

    Raises:
        DataError: it can't be read, or a line is not a JSON object.
    """
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _parse_line(path, number, line)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"can't read {path}: {error}") from error


def _parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"line {number} of {path} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"line {number} of {path} is not a JSON object")
    return record
