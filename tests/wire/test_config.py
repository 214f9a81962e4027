"""Where an engine's socket goes: a private folder, a short path, and not a word about it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from codegen_lsp.wire.config import ConfigError, EngineConfig, socket_path

LONG = "far/" * 20 + "away"
PRINT = "from codegen_lsp.wire.config import *; print(socket_path(EngineConfig())); print(log_path(EngineConfig()))"


def places(home: Path, **changes: str) -> tuple[Path, Path]:
    """The socket and the log of a process for which every warning is an error."""
    env = {k: v for k, v in os.environ.items() if k not in ("XDG_RUNTIME_DIR", "CODEGEN_LSP_RUNTIME_DIR")}
    env |= {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": "", "XDG_STATE_HOME": "", **changes}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRINT], env=env, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    path, log = map(Path, result.stdout.splitlines())
    status = path.parent.stat()
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid == os.getuid()
    assert len(os.fsencode(path)) <= 103
    assert log.parent.is_dir()
    return path, log


@pytest.mark.parametrize("runtime", [None, "", "missing", "open", LONG, "a file"])
def test_a_socket_has_a_private_place_whatever_the_system_promises(
    tmp_path: Path, runtime: str | None
) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "a file").touch()
    given = {} if runtime is None else {"XDG_RUNTIME_DIR": str(tmp_path / runtime) if runtime else ""}
    assert places(tmp_path, **given) == places(tmp_path, **given), "the next process finds the same"


def test_a_long_home_is_no_obstacle(tmp_path: Path) -> None:
    home = tmp_path / LONG
    home.mkdir(parents=True)
    places(home)


def test_a_named_folder_is_made_private(tmp_path: Path) -> None:
    folder = tmp_path / "named"
    folder.mkdir(mode=0o755)
    path, log = places(tmp_path, CODEGEN_LSP_RUNTIME_DIR=str(folder))
    assert path.parent == log.parent == folder


@pytest.mark.parametrize("named", [LONG, "a file", "a file/below"])
def test_a_named_folder_that_will_not_do_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("CODEGEN_LSP_RUNTIME_DIR", str(tmp_path / named))
    with pytest.raises(ConfigError, match="CODEGEN_LSP_RUNTIME_DIR"):
        socket_path(EngineConfig())
