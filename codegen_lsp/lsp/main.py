"""How the language server is started: on standard input and output, on a unix socket, or on a loopback address.

Imports the language server only after the handshake with the client. Knows streams and exit codes, nothing of LSP.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path
from typing import BinaryIO, NoReturn

from codegen_lsp.escaping import EscapingFormatter
from codegen_lsp.lsp.server import handshake


def main(tcp: tuple[str, int] | None = None, socket: Path | None = None) -> int:
    """Serve on standard input and output, or one client after another on a loopback address or a unix socket.

    Raises:
        ConfigError: the address can't be listened on or is not this machine's own, or the standard streams are closed.
    """
    _reopen_standard_error()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EscapingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("pygls").setLevel("CRITICAL")
    try:
        if tcp is not None or socket is not None:
            from codegen_lsp.lsp.server import listening

            return (
                listening.serve_tcp(*tcp, _serve) if tcp else listening.serve_unix(socket or Path(), _serve)
            )
        code = _serve(_claim_stdin(), _claim_stdout())
    except KeyboardInterrupt:
        return 130
    # A client that leaves without `exit` is not our failure, but it did not ask us to end either.
    return 1 if code is None else code


def _serve(source: BinaryIO, sink: BinaryIO, token: str = "") -> int | None:
    """Serve one client; returns the exit code that its `exit` asks for, None if it left without `exit`."""
    first = handshake.greet(source, sink, token)
    if first is None:
        return None
    # While the thousands of classes of LSP's types are made, the collector would search them again and again.
    gc.disable()
    import asyncio

    from codegen_lsp.lsp.app import build_server, serve

    gc.freeze()
    gc.enable()
    return asyncio.run(serve(build_server(), source, sink, first))


def _claim_stdin() -> BinaryIO:
    """Return standard input behind a separate buffer: at the end a thread still waits in it, and holds its lock."""
    if sys.stdin is None:
        _fail_closed("input")
    return os.fdopen(os.dup(sys.stdin.fileno()), "rb")


def _claim_stdout() -> BinaryIO:
    """Return standard output for the protocol alone: what a library prints goes to standard error."""
    if sys.stdout is None:
        _fail_closed("output")
    stream = sys.stdout.buffer
    sys.stdout = sys.stderr
    return stream


def _fail_closed(name: str) -> NoReturn:
    from codegen_lsp.wire.config import ConfigError

    raise ConfigError(
        f"standard {name} is closed, and the language server speaks with its editor there; "
        "start it from an editor, or with --tcp or --socket"
    )


def _reopen_standard_error() -> None:
    """Write errors to the null device if standard error is closed: `print` would write them to standard output."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
