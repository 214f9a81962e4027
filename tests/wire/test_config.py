"""Where an engine's socket goes: a private folder, a short path, and not a word about it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
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


def test_a_named_folder_is_made_private_if_it_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "named"
    path, log = places(tmp_path, CODEGEN_LSP_RUNTIME_DIR=str(folder))
    assert path.parent == log.parent == folder
    shutil.rmtree(folder)
    assert places(tmp_path, CODEGEN_LSP_RUNTIME_DIR=str(folder)) == (path, log), "it comes back"


@pytest.mark.parametrize("mode", [0o755, 0o1777, 0o750])
def test_a_named_folder_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    with tempfile.TemporaryDirectory() as short:  # pytest's own folders are too long for a socket
        folder = Path(short, "named")
        folder.mkdir()
        folder.chmod(mode)
        path, log = places(tmp_path, CODEGEN_LSP_RUNTIME_DIR=str(folder))
        assert stat.S_IMODE(folder.stat().st_mode) == mode
        assert path.parent == log.parent
        assert path.parent.parent == folder


def test_a_link_to_a_folder_of_others_is_not_followed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    named = tmp_path / "named"
    named.mkdir()
    named.chmod(0o755)
    (named / f"codegen-lsp-{os.getuid()}").symlink_to(shared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEGEN_LSP_RUNTIME_DIR", str(named))
        with pytest.raises(ConfigError, match="link"):
            socket_path(EngineConfig())
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


def test_without_a_home_and_without_an_entry_for_the_user(tmp_path: Path) -> None:
    """Then `~` means nothing, and nothing may be made in a folder of that name."""
    program = "import pwd\ndef getpwuid(_): raise KeyError\npwd.getpwuid = getpwuid\n" + PRINT
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    folder = tmp_path / "work"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert all(Path(line).is_absolute() for line in done.stdout.splitlines())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("named", [LONG, "a file", "a file/below"])
def test_a_named_folder_that_will_not_do_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("CODEGEN_LSP_RUNTIME_DIR", str(tmp_path / named))
    with pytest.raises(ConfigError, match="CODEGEN_LSP_RUNTIME_DIR"):
        socket_path(EngineConfig())
