"""How the language server is started: on standard input and output, or on a loopback address.

Imports the server only after the client has been greeted. Knows streams and exit codes, nothing of LSP.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
from typing import BinaryIO

from codegen_lsp.lsp.server import handshake


def main(tcp: tuple[str, int] | None = None) -> int:
    """Serve on standard input and output, or one client after another on a loopback address.

    Raises:
        ConfigError: the address is not this machine's own, or can't be listened on.
    """
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("pygls").setLevel("CRITICAL")
    try:
        if tcp is not None:
            return _serve_tcp(*tcp)
        code = _serve(_claim_stdin(), _claim_stdout())
    except KeyboardInterrupt:
        return 130
    # A client that is gone without a word is no failure of ours, but it did not ask us to leave either.
    return 1 if code is None else code


def _serve(source: BinaryIO, sink: BinaryIO) -> int | None:
    """Serve one client; gives the exit code that its `exit` asks for, None where it went without one."""
    first = handshake.greet(source, sink)
    if first is None:
        return None
    # The thousands of classes of LSP's types would be searched for garbage again and again while they are made.
    gc.disable()
    import asyncio

    from codegen_lsp.lsp.app import build_server, serve

    gc.freeze()
    gc.enable()
    return asyncio.run(serve(build_server(), source, sink, first))


def _claim_stdin() -> BinaryIO:
    """Standard input behind a buffer of its own: at the end a thread still waits in it, and holds its lock."""
    return os.fdopen(os.dup(sys.stdin.fileno()), "rb")


def _claim_stdout() -> BinaryIO:
    """Standard output for the protocol alone: whatever a library prints goes to standard error."""
    stream = sys.stdout.buffer
    sys.stdout = sys.stderr
    return stream


def _serve_tcp(host: str, port: int) -> int:
    from codegen_lsp.wire.config import ConfigError

    if host not in ("localhost", "::1") and not host.startswith("127."):
        raise ConfigError(
            f"{host} can be reached by others, and this protocol knows no password; use 127.0.0.1"
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"can't listen on {host}:{port}: {error.strerror or error}") from error
    with listener:
        print(f"listening on {host}:{listener.getsockname()[1]}", file=sys.stderr, flush=True)  # noqa: T201
        code: int | None = None
        while code is None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as source, connection.makefile("wb") as sink:
                code = _serve(source, sink)
        return code
