"""Check the header of a GGUF file before it is parsed: numbers in it say how much a parser reads, and how often.

A file may come from anywhere. Parsers make a list of a billion numbers if the header says so, or walk over gigabytes.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError

MAX_KEYS = 10_000
MAX_TENSORS = 100_000
MAX_NAME = 65_535
"""Bytes of the longest key or name of a tensor, as the format says."""
MAX_STRING = 16 * 2**20
"""Bytes of the longest string; chat templates take a hundredth of that."""
MAX_ELEMENTS = 4_000_000
"""Number of elements of all arrays together; the largest vocabularies have 300,000 tokens and as many merges."""
MAX_HEADER = 512 * 2**20
MAX_DIMENSIONS = 8
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a number by its type."""
_STRING, _ARRAY = 8, 9


def check_header(path: Path) -> None:
    """Check that no number in the header is absurd.

    Raises:
        CheckpointError: one is, or the header is cut off.
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        _Header(path, file).check()


class _Header:
    """A walk over the keys and the table of tensors."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._end = min(path.stat().st_size, MAX_HEADER)
        self._elements = 0

    def check(self) -> None:
        self._skip(4)
        _, tensors, keys = self._read("<IQQ")
        self._limit(keys, MAX_KEYS, "keys")
        self._limit(tensors, MAX_TENSORS, "tensors")
        for _ in range(keys):
            self._skip_string(MAX_NAME)
            self._skip_value(*self._read("<I"))
        for _ in range(tensors):
            self._skip_string(MAX_NAME)
            (dimensions,) = self._read("<I")
            self._limit(dimensions, MAX_DIMENSIONS, "dimensions of a tensor")
            self._skip(8 * dimensions + 12)

    def _skip_value(self, kind: int) -> None:
        if kind == _ARRAY:
            kind, count = self._read("<IQ")
            self._elements += count
            self._limit(self._elements, MAX_ELEMENTS, "elements")
            if kind == _STRING:
                for _ in range(count):
                    self._skip_string(MAX_STRING)
            else:
                self._skip(count * self._width(kind))
        elif kind == _STRING:
            self._skip_string(MAX_STRING)
        else:
            self._skip(self._width(kind))

    def _width(self, kind: int) -> int:
        if kind not in _WIDTHS:
            raise CheckpointError(f"{self._path} can't be read: it has a value of the unknown type {kind}")
        return _WIDTHS[kind]

    def _skip_string(self, limit: int) -> None:
        (length,) = self._read("<Q")
        self._limit(length, limit, "bytes of a string")
        self._skip(length)

    def _read(self, layout: str) -> tuple[int, ...]:
        content = self._file.read(struct.calcsize(layout))
        if len(content) < struct.calcsize(layout) or self._file.tell() > self._end:
            raise self._cut_off()
        return struct.unpack(layout, content)

    def _skip(self, count: int) -> None:
        if self._file.seek(count, 1) > self._end:
            raise self._cut_off()

    def _limit(self, number: int, limit: int, what: str) -> None:
        if number > limit:
            raise CheckpointError(
                f"{self._path} is wrong: it says that it has {number} {what}, more than any model has ({limit})"
            )

    def _cut_off(self) -> CheckpointError:
        return CheckpointError(f"{self._path} can't be read: its header doesn't end; download it again")
