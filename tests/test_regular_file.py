"""Files whose names come from outside: regular ones up to a limit are read, all others are refused at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codegen_lsp.regular_file import UnsuitableFileError, read_regular_file

pytestmark = pytest.mark.timeout(20)


def test_a_file_up_to_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "full.txt"
    path.write_bytes(b"\r\n\x1a7")
    assert read_regular_file(path, 4) == b"\r\n\x1a7"
    assert read_regular_file(str(path), 2**30) == b"\r\n\x1a7"


@pytest.mark.parametrize(("limit", "reason"), [(3, "larger than 3 bytes"), (2**20, "larger than 1 MiB")])
def test_a_larger_file_is_refused(tmp_path: Path, limit: int, reason: str) -> None:
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(limit + 1)
    with pytest.raises(UnsuitableFileError, match=reason):
        read_regular_file(path, limit)


def test_a_file_without_a_size_is_read_up_to_the_limit() -> None:
    """Files of the kernel have size 0, whatever they hold."""
    path = Path("/proc/self/status")
    if not path.exists():
        pytest.skip("this system has no /proc")
    assert b"Name:" in read_regular_file(path, 2**20)
    with pytest.raises(UnsuitableFileError, match="larger than 10 bytes"):
        read_regular_file(path, 10)


def test_a_fifo_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("fifo", "endless"):
        with pytest.raises(UnsuitableFileError, match="not a regular file"):
            read_regular_file(tmp_path / name, 100)


def test_links_are_followed_unless_they_are_not_allowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    assert read_regular_file(link, 10) == b"x"
    with pytest.raises(UnsuitableFileError, match="not a regular file"):
        read_regular_file(link, 10, links=False)


def test_a_missing_file_and_a_folder_keep_their_own_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_regular_file(tmp_path / "missing", 10)
    with pytest.raises(IsADirectoryError):
        read_regular_file(tmp_path, 10)
    with pytest.raises(ValueError, match="null"):
        read_regular_file("a\0b", 10)
