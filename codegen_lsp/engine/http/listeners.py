"""Listen on a unix socket or a TCP port, and keep its lock and its token."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from codegen_lsp.wire.config import SOCKET_BYTES, ConfigError, runtime_dir
from codegen_lsp.wire.transport.http import socket_client


class AlreadyRunning(Exception):  # noqa: N818
    """Another engine serves this socket, which is what the caller wanted."""


@dataclass(frozen=True, slots=True)
class Address:
    """A unix socket, or a host and a port; and the token that clients must send."""

    path: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None

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
    """Listen on a unix socket that only this user can connect to, and remove it at the end."""
    if len(os.fsencode(path)) > SOCKET_BYTES:
        raise ConfigError(
            f"the socket's path is too long ({path}); set CODEGEN_LSP_RUNTIME_DIR to a shorter folder"
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {path.parent} can't be created: {error.strerror}") from error
    with _lock(path):
        path.unlink(missing_ok=True)
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
        try:
            yield listener
        finally:
            listener.close()
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock of a socket.

    Raises:
        AlreadyRunning: another engine holds it and answers.
        ConfigError: another process holds it but does not answer.
    """
    name = path.with_name(path.name + ".lock")
    deadline = time.monotonic() + 5
    while True:
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed the file in between: then this lock guards nothing.
            if name.exists() and os.fstat(handle).st_ino == name.stat().st_ino:
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


def _answers(path: Path) -> bool:
    try:
        with socket_client(path, timeout=2) as client:
            client.get("/health")
    except httpx.HTTPError:
        return False
    return True


@contextlib.contextmanager
def tcp_listener(address: Address) -> Iterator[socket.socket]:
    """Listen on a TCP port."""
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listener = socket.create_server((address.host, address.port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{address.host}:{address.port} can't be used: {error}") from error
    with listener:
        yield listener


@contextlib.contextmanager
def token_file(port: int, token: str) -> Iterator[Path]:
    """Keep the token of a port in a file that only this user can read, and remove it at the end."""
    path = runtime_dir() / f"{port}.token"
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
        file.write(token)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
