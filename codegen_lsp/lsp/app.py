"""The language server put together: every handler registered, one client served over a pair of streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

from lsprotocol import types

from codegen_lsp.lsp.handlers import commands, documents, inline, lifecycle, menu, surprise, write_body
from codegen_lsp.lsp.server import handshake
from codegen_lsp.lsp.server.protocol import PARSE_ERROR, Protocol
from codegen_lsp.lsp.server.transport import FrameError, Reader, Writer
from codegen_lsp.lsp.session.language_server import CodegenServer
from codegen_lsp.lsp.session.session import MakeBackend, make_backend

FEATURES: dict[str, Callable[..., Any]] = {
    types.INITIALIZE: lifecycle.initialize,
    types.INITIALIZED: lifecycle.initialized,
    types.WORKSPACE_DID_CHANGE_CONFIGURATION: lifecycle.did_change_configuration,
    types.TEXT_DOCUMENT_DID_OPEN: documents.did_open,
    types.TEXT_DOCUMENT_DID_CHANGE: documents.did_change,
    types.TEXT_DOCUMENT_DID_SAVE: documents.did_save,
    types.TEXT_DOCUMENT_DID_CLOSE: documents.did_close,
    types.NOTEBOOK_DOCUMENT_DID_CLOSE: documents.did_close_notebook,
    types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS: documents.did_change_folders,
    documents.DID_FOCUS: documents.did_focus,
    types.TEXT_DOCUMENT_INLINE_COMPLETION: inline.inline_completion,
    inline.DID_SHOW: inline.did_show,
    inline.DID_PARTIALLY_ACCEPT: inline.did_partially_accept,
    types.TEXT_DOCUMENT_COMPLETION: menu.completion,
    types.COMPLETION_ITEM_RESOLVE: menu.resolve,
    types.TEXT_DOCUMENT_CODE_ACTION: write_body.code_action,
}
"""The handler of each LSP method."""

OFFERS: dict[str, Any] = {
    types.TEXT_DOCUMENT_INLINE_COMPLETION: types.InlineCompletionOptions(),
    types.TEXT_DOCUMENT_COMPLETION: types.CompletionOptions(
        trigger_characters=handshake.TRIGGERS, resolve_provider=True
    ),
    types.TEXT_DOCUMENT_CODE_ACTION: types.CodeActionOptions(code_action_kinds=[write_body.KIND]),
}
"""What the capabilities say of a method."""

COMMANDS: dict[str, Callable[..., Any]] = {
    commands.ACCEPTED: commands.accepted,
    commands.LAST_REQUEST: commands.last_request,
    commands.PAUSE: commands.pause,
    commands.STATUS: commands.status,
    commands.RESTART: commands.restart,
    commands.UNLOAD: commands.unload,
    surprise.SURPRISE: surprise.surprise,
    write_body.WRITE_BODY: write_body.write_body,
}
"""The handler of each command of `workspace/executeCommand`."""


def build_server(make: MakeBackend = make_backend) -> CodegenServer:
    """Return a language server with all handlers; `make` makes its engine from options."""
    server = CodegenServer(make)
    server.session.context.on_change = partial(documents.warm, server)
    for method, handler in FEATURES.items():
        server.feature(method, OFFERS.get(method))(handler)
    for name, handler in COMMANDS.items():
        server.command(name)(handler)
    return server


async def serve(
    server: CodegenServer, source: BinaryIO, sink: BinaryIO, first: tuple[Any, bool] | FrameError
) -> int | None:
    """Serve one client over a pair of streams until it leaves, beginning with what `handshake.greet` has read.

    Returns the exit code that the client's `exit` asks for, None if it left without `exit`.
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
    server.spawn(lifecycle.expect_initialized(server))
    if server.process_id:
        server.spawn(lifecycle.watch_editor(server))
    await ended.wait()
    await server.session.aclose()
    return protocol.exit_code


def _begin(protocol: Protocol, message: Any, answered: bool) -> None:
    """Receive the first message; if it was answered, it must not be answered again, nor be refused."""
    if not answered:
        protocol.receive(message)
        return
    protocol.answered = message["id"]
    protocol.receive(message)
    if not protocol.begun():
        protocol.receive(handshake.plainest(message))
    protocol.answered = None
