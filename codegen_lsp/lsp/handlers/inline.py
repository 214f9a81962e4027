"""Ghost text: `textDocument/inlineCompletion`, and what the client reports about the suggestions it showed."""

from __future__ import annotations

from typing import Any

from lsprotocol import types

from codegen_lsp.lsp.code import cursor as cursors
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.handlers import requests
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.server.protocol import RAW
from codegen_lsp.lsp.session.language_server import CodegenServer
from codegen_lsp.lsp.suggest.request_log import Method

METHOD: Method = "inlineCompletion"
DID_SHOW = "textDocument/didShowCompletion"
DID_PARTIALLY_ACCEPT = "textDocument/didPartiallyAcceptCompletion"


def inline_completion(server: CodegenServer, params: types.InlineCompletionParams) -> Any:
    """Read the document at once, then return the coroutine that answers."""
    raw = RAW.get({})
    cursor: Cursor | None = server.cursor_at(params.text_document.uri, params.position, raw)
    assert cursor is not None
    selected = params.context.selected_completion_info
    if selected is not None:
        encoding = server.protocol.documents.encoding
        continued = cursors.select(cursor, selected.text, selected.range, encoding)
        if continued is None:
            requests.refuse(server, cursor, params.position, METHOD, Reason.MISMATCH)
            return types.InlineCompletionList(items=[])
        cursor = continued
    if requests.is_stale(raw, cursor):
        requests.refuse(server, cursor, params.position, METHOD, Reason.CANCELLED)
        return types.InlineCompletionList(items=[])
    invoked = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
    server.supersede(cursor.uri, METHOD)
    return _answer(server, cursor, params.position, invoked)


async def _answer(
    server: CodegenServer, cursor: Cursor, position: types.Position, invoked: bool
) -> types.InlineCompletionList:
    from codegen_lsp.lsp.suggest import edits

    record = await requests.ask(server, cursor, position, METHOD, invoked=invoked)
    encoding = server.protocol.documents.encoding
    return types.InlineCompletionList(
        items=edits.inline_items(record.outcome.ranked, cursor, encoding, record.ids)
    )


def did_show(server: CodegenServer, params: Any) -> None:
    """Count a suggestion that the client has shown."""
    if isinstance(params, dict) and isinstance(params.get("item"), dict):
        server.session.records.shown += 1


def did_partially_accept(server: CodegenServer, params: Any) -> None:
    """Count a suggestion that the user has accepted in part."""
    length = params.get("acceptedLength") if isinstance(params, dict) else None
    if isinstance(length, int) and length >= 1:
        server.session.records.partly_accepted += 1
