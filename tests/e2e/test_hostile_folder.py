"""A cloned repository with Python files of its own: nothing in it runs because `codegen-lsp` is called there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from support.editor import environment
from support.engines import stop_engines

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]

TRAP = "import os; open({marker!r}, 'a').write(__name__ + '\\n')\n"
MODULES = ("json", "asyncio", "typing", "sitecustomize", "usercustomize", "httpx", "torch")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder in which every module that might be imported leaves a mark."""
    folder = tmp_path / "repository"
    (folder / "codegen_lsp" / "engine").mkdir(parents=True)
    trap = TRAP.format(marker=str(tmp_path / "marker"))
    for name in (*(f"{m}.py" for m in MODULES), "codegen_lsp/__init__.py", "codegen_lsp/__main__.py"):
        (folder / name).write_text(trap)
    (folder / "a.py").write_text("def add(a, b):\n    return ")
    return folder


@pytest.mark.parametrize(
    "arguments", [("complete", "a.py:2:12", "--json"), ("score", "a.py", "--json")], ids=lambda a: a[0]
)
async def test_commands_run_no_code_of_the_folder(
    tmp_path: Path, repository: Path, arguments: tuple[str, ...]
) -> None:
    # The first process is the user's own and ignores these variables; all that it starts must not see them.
    hostile = {
        "PYTHONPATH": str(repository),
        "PYTHONSTARTUP": str(repository / "json.py"),
        "PYTHONUSERBASE": str(repository),
        "PYTHONINSPECT": "1",
        "PYTHONHOME": str(repository),
    }
    command = (sys.executable, "-P", "-E", "-m", "codegen_lsp", *arguments)
    await run(tmp_path, repository, command, hostile)


async def test_a_command_that_starts_itself_again_runs_none_either(tmp_path: Path, repository: Path) -> None:
    """Without docstrings it does: the process is replaced by another one in the same folder."""
    command = (sys.executable, "-P", "-m", "codegen_lsp", "models", "--help")
    await run(tmp_path, repository, command, {"PYTHONOPTIMIZE": "2"})


async def run(tmp_path: Path, repository: Path, command: tuple[str, ...], variables: dict[str, str]) -> None:
    """Run a command in the repository, and see that it leaves no mark."""
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=repository,
            env=environment(tmp_path) | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / "marker").exists(), (tmp_path / "marker").read_text()
    finally:
        await asyncio.to_thread(stop_engines, tmp_path)
