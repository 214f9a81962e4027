"""Put VS Code where the tests can start it: code-server, a browser, and our extension as a `.vsix`.

Run as a program it prints what it has put where. Everything but the browser lies below the cache folder and comes
from npm's registry; the browser is the machine's own, or Debian's package where this may install one. The extension
is checked (types, lint, unit tests) and packaged from a copy, so that the tree stays as it was. Knows nothing of
the tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.editors import cache
from e2e.editors.cache import UnavailableError

FOLDER = "vscode"
EXTENSION = Path(__file__).parents[3] / "editors" / "vscode"

NODE = "24.21.0"
CODE_SERVER = "4.139.1"
QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

UNUSED = (
    "node_modules/@github",
    "node_modules/@microsoft/mxc-sdk",
    "extensions/copilot",
)
"""Parts of code-server that these tests never load: 280 MB."""


@dataclass(frozen=True)
class VSCode:
    """What a test needs to start the editor."""

    node: Path
    """The Node that code-server wants; also runs the extension's checks."""
    code_server: Path
    """code-server's entry script."""
    browser: Path


def install() -> VSCode:
    """The editor to test with, installed now if it must be.

    Raises:
        UnavailableError: npm or a browser is missing and can't be had, or a download failed.
    """
    root = cache.folder(FOLDER)
    with cache.locked(root):
        browser = _browser()
        modules = root / "node_modules"
        stamp = root / f"complete-{NODE}-{CODE_SERVER}"
        if not stamp.exists():
            _install_code_server(root)
            stamp.touch()
    return VSCode(_node_package(modules) / "bin" / "node", modules / "code-server/out/node/entry.js", browser)


def _install_code_server(root: Path) -> None:
    _install_node(root)
    _npm(root, "install", *QUIET, f"code-server@{CODE_SERVER}")
    code = root / "node_modules/code-server/lib/vscode"
    _npm(code, "install", *QUIET, "--omit=dev")
    for part in UNUSED:
        shutil.rmtree(code / part, ignore_errors=True)


def _install_node(root: Path) -> None:
    node = _node_package(root / "node_modules")
    if not (node / "bin" / "node").exists():
        (root / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        _npm(root, "install", *QUIET, f"{node.name}@{NODE}")


def _node_package(modules: Path) -> Path:
    """npm has Node's own executable as a package of each platform."""
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
    architecture = machine.get(platform.machine().lower())
    if architecture is None or sys.platform not in ("linux", "darwin"):
        raise UnavailableError(f"npm has no Node for {sys.platform} on {platform.machine()}")
    return modules / f"node-{sys.platform}-{architecture}"


def _browser() -> Path:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        _install_browser()
        found = shutil.which(BROWSERS[0])
    if found is None:
        raise UnavailableError("apt-get installed chromium, but it is not on PATH")
    return Path(found)


def _install_browser() -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        wanted = " or ".join(BROWSERS)
        raise UnavailableError(f"no {wanted} on PATH, and only root on Debian could install one here")
    options = ("-y", "-q", "--no-install-recommends")
    _run(["apt-get", "update", "-q"], Path.cwd())
    _run(["apt-get", "install", *options, BROWSERS[0], "fonts-dejavu-core"], Path.cwd())


def package_extension() -> Path:
    """The extension as a `.vsix`, from the sources as they are now; checked, once for each state of them.

    Raises:
        UnavailableError: npm is missing or a download failed.
        AssertionError: types, lint or unit tests fail; the message holds the whole output.
    """
    root = cache.folder(FOLDER)
    with cache.locked(root):
        digest = _digest(EXTENSION)
        vsix = root / "vsix" / f"codegen-lsp-{digest}.vsix"
        if not vsix.exists():
            _install_node(root)
            _build(root, vsix)
    return vsix


def _build(root: Path, vsix: Path) -> None:
    copy = root / "extension"
    lock = (EXTENSION / "package-lock.json").read_bytes()
    installed = copy / "node_modules" / ".installed"
    fresh = installed.exists() and installed.read_bytes() == lock
    for entry in copy.iterdir() if copy.exists() else ():
        if entry.name != "node_modules":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    ignored = shutil.ignore_patterns("node_modules", "dist", "out", "*.vsix", "__pycache__")
    shutil.copytree(EXTENSION, copy, ignore=ignored, dirs_exist_ok=True)
    if not fresh:
        _npm(copy, "ci", *QUIET)
        installed.write_bytes(lock)
    for script in ("check", "lint", "test"):
        _npm(copy, "run", script, judged=True)
    vsix.parent.mkdir(exist_ok=True)
    for old in vsix.parent.glob("*.vsix"):
        old.unlink()
    _npm(copy, "run", "package", "--", "--out", str(vsix), judged=True)


def _digest(folder: Path) -> str:
    """A fingerprint of the sources."""
    skipped = {"node_modules", "dist", "out", "__pycache__"}
    hasher = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        relative = path.relative_to(folder)
        if skipped.isdisjoint(relative.parts) and path.suffix != ".vsix":
            hasher.update(json.dumps(relative.as_posix()).encode())
            hasher.update(path.read_bytes())
    return hasher.hexdigest()[:16]


def _npm(folder: Path, *arguments: str, judged: bool = False) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError("npm is not installed; code-server and the extension's tools come from npm")
    _run([npm, *arguments], folder, judged=judged)


def _run(command: Sequence[str], folder: Path, *, judged: bool = False) -> None:
    """Run a command quietly. `judged`: its failure is ours, not the network's."""
    # The tools want a newer Node than a distribution's; before it is installed, the folder is merely not there.
    path = f"{_node_package(cache.folder(FOLDER) / 'node_modules') / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode != 0:
        message = f"{' '.join(command)} failed:\n{done.stdout[-8000:].strip()}"
        raise AssertionError(message) if judged else UnavailableError(message)


if __name__ == "__main__":
    try:
        print(install())
        print(package_extension())
    except UnavailableError as reason:
        sys.exit(f"no VS Code: {reason}")
