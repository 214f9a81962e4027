"""Folders for sockets, locks, tokens and logs of this user's engines.

A folder that this package did not make keeps its mode; a private one is made below it. A folder that vanished is
made again at the next call, and one that can't be written to is passed over.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs

from codegen_lsp.wire.errors import ConfigError

VARIABLE = "CODEGEN_LSP_RUNTIME_DIR"
MODELS_VARIABLE = "CODEGEN_LSP_MODELS_DIR"
SOCKET_BYTES = 103
"""Maximum number of bytes in the path of a unix socket on macOS; on Linux it is 107."""
SOCKET_NAME = "0123456789ab.sock"
"""A name as long as that of every engine's socket."""


def runtime_dir() -> Path:
    """Return a folder that only this user can enter, for sockets, locks and tokens; it is made if it is missing.

    It is the one that `CODEGEN_LSP_RUNTIME_DIR` names, if that is private or does not exist yet, or else a folder below
    it. Without the variable it is the first of the usual folders that is private and whose path leaves room for the
    name of a socket.

    Raises:
        ConfigError: there is no such folder, or the named one can't be used.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return _below_named(Path(named).absolute())
    for folder in _usual_runtime_dirs():
        if fits(folder):
            with contextlib.suppress(ConfigError):
                return _private(folder)
    raise ConfigError(
        f"there is no private folder for the engine's socket; set {VARIABLE} to a folder of your own, "
        "with a short path"
    )


def log_dir() -> Path:
    """Return the folder of the log files; the runtime folder if the system's folder for logs can't be used.

    Raises:
        ConfigError: neither can be used.
    """
    return _writable(platformdirs.user_log_path)


def cache_dir() -> Path:
    """Return the folder of what can be measured again; the runtime folder if the system's cache can't be used.

    Raises:
        ConfigError: neither can be used.
    """
    return _writable(platformdirs.user_cache_path)


def _writable(find: Callable[..., Path]) -> Path:
    folder = _platform_path(find)
    if folder is not None and not os.environ.get(VARIABLE):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    return runtime_dir()


def models_dir() -> Path:
    """Return the folder for models that don't come from the hub: `CODEGEN_LSP_MODELS_DIR`, or one in the user's data.

    Raises:
        ConfigError: there is no home folder to have it in.
    """
    named = os.environ.get(MODELS_VARIABLE)
    folder = Path(named).absolute() if named else _platform_path(platformdirs.user_data_path)
    if folder is None:
        raise ConfigError(f"there is no folder for models; set {MODELS_VARIABLE} to a folder of your own")
    return folder if named else folder / "models"


def fits(folder: Path) -> bool:
    """Return whether the path of a socket in a folder is short enough for the system."""
    return len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_BYTES


def _below_named(folder: Path) -> Path:
    """Return a named folder, or a private folder below it if it is not private itself."""
    if not os.path.lexists(folder) or _is_private(folder):
        return _private(folder)
    return _private(folder / _user_name())


def _usual_runtime_dirs() -> Iterator[Path]:
    """Yield the folders to try: the system's place for sockets, the cache, the temporary folder."""
    runtime = _platform_path(platformdirs.user_runtime_path)
    if runtime is not None:
        yield runtime
    cache = _platform_path(platformdirs.user_cache_path)
    if cache is not None:
        yield cache / "run"
    with contextlib.suppress(OSError):  # No temporary folder is usable.
        yield Path(tempfile.gettempdir()) / _user_name()
    yield Path("/tmp") / _user_name()


def _platform_path(find: Callable[..., Path]) -> Path | None:
    """Return this package's folder of one of the system's kinds; None without a home directory to have it in."""
    try:
        with warnings.catch_warnings():
            # A missing XDG_RUNTIME_DIR is normal in a container and after a login without a session.
            warnings.simplefilter("ignore")
            folder = find("codegen-lsp", appauthor=False)
    except (OSError, RuntimeError, KeyError):
        return None
    return folder if folder.is_absolute() else None


def _user_name() -> str:
    """Return the name of this user's folder in a folder that several users share."""
    user = os.getuid() if sys.platform != "win32" else os.environ.get("USERNAME", "")
    return f"codegen-lsp-{user}"


def _private(folder: Path) -> Path:
    """Return a folder that only this user can enter, made if it is missing.

    A folder of this package, which earlier releases may have made readable, is closed.

    Raises:
        ConfigError: it can't be made or written to, is not a folder, or belongs to another user.
    """
    advice = f"set {VARIABLE} to a folder of yours"
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) and not _is_private(folder):
            raise ConfigError(f"{folder} is a link to a folder that is not private; {advice}")
        if sys.platform != "win32":
            if folder.stat().st_uid != os.getuid() or folder.parent.stat().st_uid not in (0, os.getuid()):
                raise ConfigError(f"{folder} belongs to another user; {advice}")
            if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o077:
                folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"the folder {folder} can't be used ({error.strerror}); {advice}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"the folder {folder} can't be written to; {advice}")
    return folder


def _is_private(folder: Path) -> bool:
    """Return whether a folder exists, is this user's, and no other user can enter it."""
    try:
        status = folder.stat()
    except OSError:
        return False
    if sys.platform == "win32":
        return stat.S_ISDIR(status.st_mode)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
