"""Install VS Code for the tests: code-server, a browser, and our extension as a `.vsix`.

Run as a program, it prints their paths. Everything but the browser is installed into the cache folder, from npm. The
browser is the machine's, or Debian's package, which root can install. The extension is checked (types, lint, unit
tests) and packaged in a copy, so that the working tree is not changed.
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
from e2e.editors.cache import EditorUnavailableError

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
"""Parts of code-server that the tests don't use: 280 MB."""


@dataclass(frozen=True)
class VSCode:
    """The programs that start the editor."""

    node: Path
    """The Node that code-server requires; it also runs the extension's checks."""
    code_server: Path
    """code-server's entry script."""
    browser: Path


def install() -> VSCode:
    """Return the editor to test with, and install it first if necessary.

    Raises:
        UnavailableError: npm or a browser is missing and can't be installed, or a download failed.
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
    """Return the folder of Node, which npm has as a package for each platform."""
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
    architecture = machine.get(platform.machine().lower())
    if architecture is None or sys.platform not in ("linux", "darwin"):
        raise EditorUnavailableError(f"npm has no Node for {sys.platform} on {platform.machine()}")
    return modules / f"node-{sys.platform}-{architecture}"


def _browser() -> Path:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        _install_browser()
        program = shutil.which(BROWSERS[0])
    if program is None:
        raise EditorUnavailableError("apt-get installed chromium, but it is not on PATH")
    return Path(program)


def _install_browser() -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        names = " or ".join(BROWSERS)
        raise EditorUnavailableError(f"requires {names} on PATH; only root on Debian can install one")
    options = ("-y", "-q", "--no-install-recommends")
    _run(["apt-get", "update", "-q"], Path.cwd())
    _run(["apt-get", "install", *options, BROWSERS[0], "fonts-dejavu-core"], Path.cwd())


def package_extension() -> Path:
    """Check and package the extension, unless that was done for these sources; return the `.vsix`.

    Raises:
        UnavailableError: npm is missing or a download failed.
        AssertionError: types, lint or unit tests fail; the message contains the output.
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
    """Return a fingerprint of the sources."""
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
        raise EditorUnavailableError(
            "npm is not installed; code-server and the extension's tools come from npm"
        )
    _run([npm, *arguments], folder, judged=judged)


def _run(command: Sequence[str], folder: Path, *, judged: bool = False) -> None:
    """Run a command quietly. `judged` means that it tests our code, so that its failure is an AssertionError."""
    # The tools require a newer Node than a distribution has. Until it is installed, the folder doesn't exist.
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
        raise AssertionError(message) if judged else EditorUnavailableError(message)


if __name__ == "__main__":
    try:
        print(install())
        print(package_extension())
    except EditorUnavailableError as reason:
        sys.exit(f"no VS Code: {reason}")
