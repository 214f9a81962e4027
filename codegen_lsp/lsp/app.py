"""The language server put together: the handlers registered, one client served over a pair of streams."""

from __future__ import annotations

import asyncio
from typing import Any, BinaryIO

from codegen_lsp.lsp.server import handshake
from codegen_lsp.lsp.server.protocol import PARSE_ERROR, Protocol
from codegen_lsp.lsp.server.server import CodegenServer
from codegen_lsp.lsp.server.transport import FrameError, Reader, Writer
from codegen_lsp.lsp.session import MakeBackend, make_backend


def build_server(make: MakeBackend = make_backend) -> CodegenServer:
    """A server with all handlers; `make` makes its engine from options."""
    from codegen_lsp.lsp.handlers import commands, features, surprise, write_body

    server = CodegenServer(make)
    features.register(server)
    commands.register(server)
    surprise.register(server)
    write_body.register(server)
    return server


async def serve(
    server: CodegenServer, source: BinaryIO, sink: BinaryIO, first: tuple[Any, bool] | FrameError
) -> int | None:
    """Serve one client over a pair of streams until it leaves, beginning with what `greeting.greet` has read.

    Gives the exit code that its `exit` asks for, None where it went without one.
    """
    ended = asyncio.Event()
    protocol = server.protocol
    protocol.on_exit = ended.set
    protocol.set_writer(Writer(sink, ended.set))
    reader = Reader(
        source,
        on_message=protocol.receive,
        on_error=lambda message: protocol.refuse(None, PARSE_ERROR, message),
        on_end=ended.set,
    )
    if isinstance(first, FrameError):
        protocol.refuse(None, PARSE_ERROR, str(first))
    else:
        _begin(protocol, *first)
    reader.start()
    await ended.wait()
    await server.session.aclose()
    return protocol.exit_code


def _begin(protocol: Protocol, message: Any, answered: bool) -> None:
    """Receive the first message; one that was answered must not be answered again, nor be refused."""
    if not answered:
        protocol.receive(message)
        return
    protocol.answered = message["id"]
    protocol.receive(message)
    if not protocol.begun():
        protocol.receive(handshake.plainest(message))
    protocol.answered = None
