"""Machines without a home, with a home that can't be written to, and with a full disk: nano needs none of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.editor import ROOT
from support.engines import stop_engines
from support.fake_engine import until
from support.interpreter import python_with
from support.raw import RawClient

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(280)]

CODE = "def add(a, b):\n    return "
NO_ENTRY = "import pwd\ndef getpwuid(_): raise KeyError\npwd.getpwuid = getpwuid\n"
RUN = 'exec "$0" "$@"'
MOUNTS = {
    "read-only home": f'mount -t tmpfs -o ro,mode=700 disk "$HOME" && {RUN}',
    "full disk": f"""
        mount -t tmpfs -o size=64k,mode=700 disk "$HOME" && mkdir -m 700 "$HOME/run"
        cat /dev/zero >"$HOME/filler" 2>/dev/null
        {RUN}
    """,
}


@dataclass(frozen=True)
class Machine:
    """How a process starts there, and its environment."""

    command: tuple[str, ...]
    env: dict[str, str]


def has_mounts() -> bool:
    """Whether this user may mount file systems in a namespace."""
    try:
        command = ["unshare", "-rm", "mount", "-t", "tmpfs", "disk", "/tmp"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def machine(folder: Path, kind: str) -> Machine:
    """Return one of the machines; its engines' sockets lie in `folder`."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "CODEGEN_", "HF_"))
    }
    env |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    if kind == "no home":
        del env["HOME"]
        return Machine((str(python_with(folder / "python", NO_ENTRY)), "-P", "-m", "codegen_lsp"), env)
    if not has_mounts():
        pytest.skip("this user may not mount file systems")
    (folder / "home").mkdir()
    env |= {"HOME": str(folder / "home")}
    if kind == "full disk":
        env |= {"TMPDIR": f"{folder}/home", "CODEGEN_LSP_RUNTIME_DIR": f"{folder}/home/run"}
    shell: Sequence[str] = ("unshare", "-rm", "/bin/sh", "-c", MOUNTS[kind])
    return Machine((*shell, sys.executable, "-P", "-m", "codegen_lsp"), env)


@pytest.fixture
async def folder(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    folder = tmp_path_factory.mktemp("m")  # A short path: sockets lie in it.
    yield folder
    await asyncio.to_thread(stop_engines, folder)


@pytest.mark.parametrize("kind", ["no home", "read-only home", "full disk"])
async def test_the_language_server_suggests(folder: Path, kind: str) -> None:
    there = machine(folder, kind)
    async with RawClient(there.env, there.command) as raw:
        await raw.initialize()
        await until(lambda: raw.status["state"] in ("ready", "error"), 120)
        assert raw.status["state"] == "ready", raw.status
        await raw.open("file:///a.py", CODE)
        params = raw.inline("file:///a.py", 1, 11, context={"triggerKind": 1})
        answer = await raw.ask("textDocument/inlineCompletion", params, 60)
        assert answer["result"]["items"]
    assert b"Traceback" not in raw.errors


@pytest.mark.parametrize("kind", ["no home", "read-only home", "full disk"])
async def test_complete_suggests(folder: Path, kind: str) -> None:
    there = machine(folder, kind)
    (folder / "a.py").write_text(CODE)
    done = await asyncio.to_thread(
        subprocess.run,
        [*there.command, "complete", str(folder / "a.py:2:12"), "--json"],
        env=there.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert '"suggestions"' in done.stdout or '"items"' in done.stdout, done.stdout
    assert "Traceback" not in done.stderr
