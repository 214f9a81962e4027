"""Text files: which are read, which are found, and what is passed over."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from codegen_lsp.evals.benchmarks import replay
from codegen_lsp.evals.harness import files
from codegen_lsp.evals.harness.records import DataError


def test_workspace_without_what_is_hidden_or_generated(tmp_path: Path) -> None:
    for name in ("a.py", "sub/b.go", ".git/c.py", "node_modules/d.js", "readme.rst", "venv/e.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n", encoding="utf-8")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in files.walk(tmp_path)] == [
        "a.py",
        "readme.rst",
        "sub/b.go",
    ]


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"\xff")
    for name in ("a.py", "missing.py"):
        with pytest.raises(DataError, match="can't read"):
            files.read_text(tmp_path / name)
        assert files.read_text_or_nothing(tmp_path / name) == ""


@pytest.fixture
def odd_files(tmp_path: Path) -> Path:
    """A folder of entries that only look like source files, and of one that is."""
    (tmp_path / "real.py").write_text("x = 1\n", encoding="utf-8")
    os.mkfifo(tmp_path / "fifo.py")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket.py"))
    listener.close()
    (tmp_path / "device.py").symlink_to("/dev/zero")
    with (tmp_path / "huge.py").open("wb") as file:
        file.truncate(files.MAX_BYTES + 1)
    return tmp_path


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fifo.py", "not a regular file"),
        ("socket.py", "not a regular file"),
        ("device.py", "not a regular file"),
        ("huge.py", "larger than 16 MiB"),
        (".", "directory"),
    ],
)
def test_only_regular_files_of_moderate_size_are_read(odd_files: Path, name: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        files.read_text(odd_files / name)
    assert files.read_text_or_nothing(odd_files / name) == ""


@pytest.mark.timeout(20)
def test_walks_pass_over_what_is_not_a_regular_file(odd_files: Path) -> None:
    assert [path.name for path in files.walk(odd_files)] == ["huge.py", "real.py"]
    assert [path.name for path in replay.find_files([odd_files])] == ["huge.py", "real.py"]
    with pytest.raises(DataError, match="not a regular file"):
        replay.find_files([odd_files / "fifo.py"])


def test_a_folder_that_vanishes_or_is_not_readable_is_empty(tmp_path: Path) -> None:
    assert list(files.walk(tmp_path / "missing")) == []
