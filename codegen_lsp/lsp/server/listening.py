"""Serving clients one after another on a unix socket or a loopback address.

Knows who may connect. A unix socket is in a folder that only this user can enter. On a loopback address every user
and every web page of this machine can connect, so a client must send a token with `initialize`, and bytes that are
not LSP close the connection.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from codegen_lsp.wire.config import ConfigError, expanded

TOKEN_VARIABLE = "CODEGEN_LSP_CONNECTION_TOKEN"
"""The environment variable with the token that clients of `--tcp` send."""
FIRST_BYTES_SECONDS = 30.0
"""How long a client may take to send its first header."""

_FIRST_HEADER = re.compile(rb"content-(length|type)[ \t]*:", re.IGNORECASE)
_LONGEST = 64
"""From this many bytes on, the first header can be recognized even without its end."""

Serve = Callable[[BinaryIO, BinaryIO, str], "int | None"]
"""Serves one client, which must send the token if there is one; returns its exit code, None without `exit`."""


def serve_tcp(host: str, port: int, serve: Serve) -> int:
    """Serve on a loopback address clients that know a token.

    The token is CODEGEN_LSP_CONNECTION_TOKEN; without it, a random token is printed with the address.

    Raises:
        ConfigError: the address is not this machine's own, or can't be listened on.
    """
    if host not in ("localhost", "::1") and not host.startswith("127."):
        raise ConfigError(f"other machines can reach {host}; use 127.0.0.1 or --socket")
    token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(24)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        # Accepted connections inherit it: a message never waits for the acknowledgement of the one before.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise ConfigError(f"can't listen on {host}:{port}: {error.strerror or error}") from error
    with listener:
        if not os.environ.get(TOKEN_VARIABLE):
            _say(f"clients send initializationOptions.connectionToken = {token}")
        _say(f"listening on {host}:{listener.getsockname()[1]}")
        return _serve_all(listener, serve, token)


def serve_unix(path: Path, serve: Serve) -> int:
    """Serve on a unix socket, which only this user can connect to.

    Raises:
        ConfigError: the socket can't be made, or a file that is not a socket of this user is in its place.
    """
    path = expanded(path).absolute()
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigError(f"can't listen on {path}: {error.strerror or error}") from error
    finally:
        os.umask(mask)
    try:
        with listener:
            _say(f"listening on {path}")
            return _serve_all(listener, serve, "")
    finally:
        path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    """Remove a socket that a killed language server has left behind, and nothing else.

    Raises:
        ConfigError: the path is something else, another user's, or in use.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"can't listen on {path}: {error.strerror or error}") from error
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigError(f"{path} exists and is not a socket of this user; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise ConfigError(f"another process listens on {path}")


def _serve_all(listener: socket.socket, serve: Serve, token: str) -> int:
    """Serve one client after another until one asks the process to exit."""
    code: int | None = None
    while code is None:
        connection, _ = listener.accept()
        with connection:
            if not _speaks_lsp(connection):
                _say("closed a connection that does not begin with an LSP header")
                continue
            with connection.makefile("rb") as source, connection.makefile("wb") as sink:
                code = serve(source, sink, token)
                # The reading thread holds the lock of `source` until its read returns.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
    return code


def _speaks_lsp(connection: socket.socket) -> bool:
    """Return whether the first bytes are an LSP header; a web page's request begins with another line."""
    deadline = time.monotonic() + FIRST_BYTES_SECONDS
    try:
        while time.monotonic() < deadline:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            head = connection.recv(_LONGEST, socket.MSG_PEEK)
            if not head:
                return False
            if len(head) >= _LONGEST or b"\n" in head or b":" in head:
                return _FIRST_HEADER.match(head) is not None
            time.sleep(0.01)  # An incomplete header stays readable, so that recv does not wait for the rest.
    except OSError:
        return False
    finally:
        connection.settimeout(None)
    return False


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)  # noqa: T201
