"""The package as a user installs it: a wheel built from this tree, in virtual environments of its own.

The first environment borrows the running one's packages, torch among them, but takes codegen_lsp from the wheel. The
second holds what the wheel requires and nothing else: the language server without an engine.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from support.engines import stop_engines
from support.fake_engine import FakeEngine

from codegen_lsp.headless_editor import HeadlessEditor
from codegen_lsp.wire import extras

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
LIMIT = 60 * 2**20
"""Maximum size of the language server with everything that it requires, in bytes."""
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
OFFLINE = (
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "Max retries exceeded",
)


def call(*command: str | Path, **options: str | Path | dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; the caller looks at the exit code."""
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=600,
        check=False,
        **options,  # type: ignore[call-overload]
    )


class Environment:
    """A virtual environment without pip, its programs, and a runtime folder for its engines."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        self.folder = folder
        self.python = folder / "venv" / "bin" / "python"
        self.command = folder / "venv" / "bin" / "codegen-lsp"
        (self.packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        self.variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CODEGEN_"))}
        self.variables |= {"CODEGEN_LSP_RUNTIME_DIR": str(folder / "run"), "HF_HUB_OFFLINE": "1"}

    def install(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Install into this environment with the pip of the running one."""
        return call(*PIP, "--python", self.python, "install", *arguments)

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run codegen-lsp in a folder that is not the repository."""
        return call(self.command, *arguments, cwd=self.folder, env=self.variables)

    def size(self) -> int:
        """The bytes of everything that is installed."""
        return sum(f.stat().st_size for f in self.packages.rglob("*") if f.is_file())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree, built from a copy so that the tree stays clean."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "codegen_lsp", source / "codegen_lsp", ignore=ignored)
    done = call(*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", out, source)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("codegen_lsp-*.whl")
    return path


@pytest.fixture
def borrowing(wheel: Path, tmp_path: Path) -> Environment:
    """An environment with the wheel, and with the packages of the running environment behind it."""
    environment = Environment(tmp_path)
    done = environment.install("--no-deps", "--no-index", wheel)
    assert done.returncode == 0, done.stderr
    # A path in a .pth file adds a folder, but not the editable installation of this tree that the folder may name.
    folders = [path for path in sys.path if path.endswith("-packages")]
    (environment.packages / "borrowed.pth").write_text("\n".join(folders) + "\n")
    return environment


@pytest.fixture(scope="module")
def language_server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and what it requires, from the package index."""
    environment = Environment(tmp_path_factory.mktemp("language-server"))
    done = environment.install("-c", CONSTRAINTS, wheel)
    if done.returncode and not os.environ.get("CI") and any(words in done.stderr for words in OFFLINE):
        pytest.skip("the package index can't be reached")
    assert done.returncode == 0, done.stderr
    return environment


def test_the_wheel_completes_with_nano(borrowing: Environment) -> None:
    (borrowing.folder / "add.py").write_text("def add(first, second):\n    return first + sec\n")
    where = call(
        borrowing.python, "-c", "import codegen_lsp; print(codegen_lsp.__file__)", cwd=borrowing.folder
    )
    assert Path(where.stdout.strip()).is_relative_to(borrowing.packages)
    try:
        done = borrowing.run("complete", "add.py:2:23", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["items"][0]["text"].startswith("ond")
    finally:
        stop_engines(borrowing.folder)


def test_the_language_server_alone_is_small_and_has_no_torch(language_server: Environment) -> None:
    assert call(language_server.python, "-c", "import torch").returncode != 0
    assert language_server.size() < LIMIT
    assert language_server.run("--version").returncode == 0


def test_the_language_server_alone_works_with_a_server(language_server: Environment) -> None:
    file = language_server.folder / "add.py"
    file.write_text("def add(a, b):\n    return \n")

    async def suggestions() -> list[str]:
        async with FakeEngine() as server:
            editor = HeadlessEditor(
                {"server": server.url},
                env=language_server.variables,
                command=(str(language_server.command),),
            )
            async with editor:
                await editor.ready(60)
                items = await editor.inline(editor.open(file), 1, 11)
                return [str(item.insert_text) for item in items]

    assert asyncio.run(suggestions()) == ["a + b"]


@pytest.mark.parametrize(
    "arguments", [("complete", "add.py:2:12"), ("serve",), ("generate", "x")], ids=" ".join
)
def test_without_an_engine_one_sentence_says_what_to_install(
    language_server: Environment, wheel: Path, arguments: tuple[str, ...]
) -> None:
    (language_server.folder / "add.py").write_text("def add(a, b):\n    return \n")
    done = language_server.run(*arguments)
    assert done.returncode == 2
    assert f"pip install '{wheel}[engine]'" in done.stderr
    assert "codegen.server" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_says_what_an_engine_requires(language_server: Environment) -> None:
    done = language_server.run("doctor", "--json")
    (finding,) = [f for f in json.loads(done.stdout) if f["what"] == "engine extra"]
    assert finding["level"] == "note"
    assert "[engine]" in finding["advice"]


def test_the_extra_adds_what_the_engine_requires(wheel: Path, borrowing: Environment) -> None:
    program = "from codegen_lsp.wire import extras; print(extras.missing('engine'), extras.install_command('engine'))"
    done = call(borrowing.python, "-c", program, cwd=borrowing.folder)
    assert done.stdout.strip().endswith(f"install '{wheel}[engine]'")
    assert str(extras.missing("engine")) in done.stdout
