"""Listen on a unix socket or a TCP port, and keep its lock and its token."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import os
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from codegen_lsp.wire.config import SOCKET_BYTES, ConfigError, runtime_dir
from codegen_lsp.wire.transport.http import listens, socket_client


class AlreadyRunning(Exception):  # noqa: N818
    """Another engine serves this socket, which is what the caller wanted."""


@dataclass(frozen=True, slots=True)
class Address:
    """A unix socket, or a host and a port; and the tokens that callers must send."""

    path: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    users_file: Path | None = None
    """File with the tokens of further users; each has a part of the prefix cache and limits of its own."""
    admin_token: str | None = None
    """Required by the routes that stop the engine or unload its model, if other machines can connect."""
    certificate: Path | None = None
    """Chain of certificates in PEM format, with which the engine speaks TLS."""
    key: Path | None = None
    """The certificate's key; None if it is in the same file."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@contextlib.contextmanager
def unix_listener(path: Path) -> Iterator[socket.socket]:
    """Listen on a unix socket that only this user can connect to, and remove it at the end.

    Raises:
        AlreadyRunning: another engine serves this socket.
        ConfigError: the folder isn't safe, or `path` is a file or the socket of another program.
    """
    if len(os.fsencode(path)) > SOCKET_BYTES:
        raise ConfigError(
            f"the socket's path is too long ({path}); set CODEGEN_LSP_RUNTIME_DIR to a shorter folder"
        )
    _check_folder(path.parent)
    with _lock(path):
        _remove_stale_socket(path)
        listener = _bound(path)
        inode = path.lstat().st_ino
        try:
            yield listener
        finally:
            listener.close()
            with contextlib.suppress(OSError):
                if path.lstat().st_ino == inode:
                    path.unlink()


def _check_folder(folder: Path) -> None:
    """Create the folder of a socket, or check that other users can't exchange the files in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise ConfigError(f"the folder {folder} can't be created: {error.strerror}") from error
    shared = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    if shared or status.st_uid not in (0, os.getuid()):
        raise ConfigError(
            f"other users can write to the folder {folder}; choose a folder for the socket that only you can write to"
        )


def _remove_stale_socket(path: Path) -> None:
    """Remove a socket that an engine left behind, and nothing else; the caller holds the lock."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise ConfigError(f"{path} exists and is not a socket; choose another path, or remove it")
    if status.st_uid != os.getuid():
        raise ConfigError(f"the socket {path} belongs to another user; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise ConfigError(f"another program listens on {path}; choose another path")
    path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise ConfigError(f"the socket {path} can't be created: {error.strerror}") from error
    finally:
        os.umask(mask)
    listener.listen(128)
    return listener


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock of a socket.

    Raises:
        AlreadyRunning: another engine holds it and answers.
        ConfigError: another process holds it but does not answer, or it is not a file of this user.
    """
    name = path.with_name(path.name + ".lock")
    deadline = time.monotonic() + 5
    while True:
        handle = _open_lock(name)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed the file in between: then this lock guards nothing.
            if name.exists() and os.fstat(handle).st_ino == name.lstat().st_ino:
                break
        except BlockingIOError:
            if _answers(path):
                os.close(handle)
                raise AlreadyRunning(f"already running: unix:{path}") from None
            if time.monotonic() > deadline:
                os.close(handle)
                raise ConfigError(
                    f"another engine holds {name} but does not answer; end it and try again"
                ) from None
            time.sleep(0.1)
        os.close(handle)
    try:
        yield
    finally:
        name.unlink(missing_ok=True)
        os.close(handle)


def _open_lock(name: Path) -> int:
    """Open a lock file, never through a link and never that of another user."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(name, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError(
                f"{name} is a link; remove it, or choose another path for the socket"
            ) from error
        raise ConfigError(f"the lock {name} can't be opened: {error.strerror}") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_size:
        os.close(handle)
        raise ConfigError(f"{name} is not a lock file of yours; choose another path for the socket")
    return handle


def _answers(path: Path) -> bool:
    if not listens(path):
        return False
    try:
        with socket_client(path, timeout=2) as client:
            client.get("/health")
    except httpx.HTTPError:
        return False
    return True


@contextlib.contextmanager
def tcp_listener(address: Address) -> Iterator[socket.socket]:
    """Listen on a TCP port; connections send each event of a stream at once."""
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listener = socket.create_server((address.host, address.port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{address.host}:{address.port} can't be used: {error}") from error
    with listener:
        # Accepted connections inherit it. asyncio would set it only for a listener with the protocol number of TCP;
        # without it, an answer in several parts waits 40 ms for the acknowledgement of its first part.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


@contextlib.contextmanager
def token_file(port: int, token: str) -> Iterator[Path]:
    """Keep the token of a port in a file that only this user can read, and remove it at the end."""
    path = runtime_dir() / f"{port}.token"
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "w") as file:  # noqa: PTH123
        file.write(token)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
