"""Install an Emacs of version 29 or newer for the tests; as a program, print its command.

An Emacs on `PATH` is used if it is recent enough. Otherwise, on Debian and its derivatives, the packages are
downloaded with a private apt configuration and unpacked in the cache folder: this requires no root, and changes
nothing on the system. package-lint is installed in the same way.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from e2e.editors import cache
from e2e.editors.cache import EditorUnavailableError

OLDEST = (29, 1)
PACKAGES = ("emacs-nox",)
LINT_PACKAGES = ("elpa-package-lint", "elpa-compat", "elpa-let-alist")
LINT_SUITE = "trixie"
"""The Debian suite of package-lint: bookworm's version takes Emacs 28 for unreleased."""


@dataclass(frozen=True)
class Emacs:
    """An installed Emacs, and the libraries installed with it."""

    program: Path
    version: tuple[int, ...]
    lisp: tuple[Path, ...] = ()
    """Folders for `load-path` with package-lint; empty if it could not be installed."""


def install() -> Emacs:
    """Return the Emacs to test with, and install it first if necessary.

    Raises:
        UnavailableError: Emacs is not installed, and can't be downloaded.
    """
    root = cache.folder("emacs")
    program = os.environ.get("CODEGEN_LSP_EMACS") or shutil.which("emacs")
    if program and (version := read_version(Path(program))) >= OLDEST:
        return Emacs(Path(program), version, _lint_folders(root))
    launcher = root / "bin" / "emacs"
    with cache.locked(root):
        if not launcher.exists():
            try:
                _install_debian(root)
            except (OSError, subprocess.CalledProcessError) as error:
                raise EditorUnavailableError(f"its packages could not be installed: {error}") from error
    version = read_version(launcher)
    if version < OLDEST:
        raise EditorUnavailableError(
            f"requires Emacs {_dotted(OLDEST)}, the distribution has {_dotted(version)}"
        )
    return Emacs(launcher, version, _lint_folders(root))


def read_version(program: Path) -> tuple[int, ...]:
    """Return the version of an Emacs, or () if it doesn't start."""
    try:
        command = [str(program), "--version"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    numbers = re.search(r"GNU Emacs (\d+(?:\.\d+)*)", answer.stdout)
    return tuple(int(number) for number in numbers[1].split(".")) if numbers else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version)) or "unknown"


def _install_debian(root: Path) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise EditorUnavailableError(
                f"no Emacs {_dotted(OLDEST)} on PATH, and no {tool} to download it with"
            )
    release = platform.freedesktop_os_release()
    codename, debian = release.get("VERSION_CODENAME", ""), release.get("ID") == "debian"
    apt = _Apt(root / "apt", [codename, f"{codename}-backports"] if debian else [codename])
    try:
        apt.run("update")
        apt.run("install", "-y", "--no-install-recommends", "--download-only", *PACKAGES)
    except subprocess.CalledProcessError as error:
        reason = f"apt-get could not download {PACKAGES[0]}: {error.stderr.strip()[-400:]}"
        raise EditorUnavailableError(reason) from None
    lint = _Apt(root / "apt-lint", [LINT_SUITE if debian else codename])
    try:  # the linter is optional: its test is skipped without it
        lint.run("update")
        lint.run("download", *LINT_PACKAGES)
    except subprocess.CalledProcessError as error:
        print(f"package-lint could not be downloaded: {error.stderr.strip()[-400:]}", file=sys.stderr)
    for package in [*apt.archives.glob("*.deb"), *lint.archives.glob("*.deb")]:
        subprocess.run(["dpkg-deb", "-x", package, root / "root"], check=True, capture_output=True)
        package.unlink()
    _write_launcher(root)


class _Apt:
    """apt-get for `suites`, with the machine's mirror and installed packages; it writes to `folder` only."""

    def __init__(self, folder: Path, suites: list[str]) -> None:
        keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
        mirror, debian = _mirror()
        signed = f" [signed-by={keyring}]" if debian and keyring.exists() else ""
        self.archives = folder / "cache" / "archives"
        self._configuration = folder / "apt.conf"
        for name in ("etc/parts", "state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        lines = [f"deb{signed} {mirror} {suite} main\n" for suite in suites]
        (folder / "etc" / "sources.list").write_text("".join(lines), encoding="utf-8")
        self._configuration.write_text(
            f'Dir::Etc::sourcelist "{folder}/etc/sources.list";\nDir::Etc::sourceparts "{folder}/etc/parts";\n'
            f'Dir::State "{folder}/state";\nDir::State::status "/var/lib/dpkg/status";\n'
            f'Dir::Cache "{folder}/cache";\nAPT::Default-Release "{suites[-1]}";\n'
            'APT::Sandbox::User "";\nDebug::NoLocking "true";\n',
            encoding="utf-8",
        )

    def run(self, *arguments: str) -> None:
        """Run apt-get; packages are downloaded to `archives`."""
        subprocess.run(
            ["apt-get", "-q", *arguments],
            env=os.environ | {"APT_CONFIG": str(self._configuration), "LC_ALL": "C"},
            cwd=self.archives,
            check=True,
            capture_output=True,
            text=True,
        )


def _mirror() -> tuple[str, bool]:
    """Return the mirror of this machine's distribution, and whether that is Debian."""
    release = platform.freedesktop_os_release()
    codename = release.get("VERSION_CODENAME", "")
    options = ["--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]
    answer = subprocess.run(["apt-get", "indextargets", *options], capture_output=True, text=True, check=True)
    mirrors = [
        line.split()[0] for line in answer.stdout.splitlines() if line.split()[1:] == [codename, "main"]
    ]
    if not codename or not mirrors:
        raise EditorUnavailableError("apt has no index of this distribution; run `apt-get update` first")
    return mirrors[0], release.get("ID") == "debian"


def _write_launcher(root: Path) -> None:
    """Write a script that starts the unpacked Emacs with the paths of its files, which it can't find itself."""
    tree = root / "root" / "usr"
    program = next(tree.glob("bin/emacs-nox"), None)
    lisp = next(tree.glob("share/emacs/*/lisp"), None)
    image = next(tree.glob("libexec/emacs/*/*/emacs*.pdmp"), None)
    if program is None or lisp is None or image is None:
        raise EditorUnavailableError(
            f"the unpacked packages in {tree} have no emacs-nox, lisp folder or dump file"
        )
    libraries = ":".join(str(folder) for folder in tree.glob("lib/*-linux-gnu*"))
    settings = {
        "EMACSLOADPATH": str(lisp),
        "EMACSDATA": str(lisp.parent / "etc"),
        "EMACSDOC": str(lisp.parent / "etc"),
        "EMACSPATH": str(image.parent),
        "LD_LIBRARY_PATH": f"{libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}",
    }
    lines = [f'export {name}="{value}"' for name, value in settings.items()]
    launcher = root / "bin" / "emacs"
    launcher.parent.mkdir(parents=True, exist_ok=True)
    launcher.write_text("\n".join(["#!/bin/sh", *lines, f'exec "{program}" --dump-file="{image}" "$@"', ""]))
    launcher.chmod(0o755)


def _lint_folders(root: Path) -> tuple[Path, ...]:
    folders = sorted((root / "root/usr/share/emacs/site-lisp").glob("elpa-src/*"))
    return tuple(folders) if any((folder / "package-lint.el").exists() for folder in folders) else ()


if __name__ == "__main__":
    try:
        print(install().program)
    except EditorUnavailableError as reason:
        sys.exit(f"no Emacs: {reason}")
