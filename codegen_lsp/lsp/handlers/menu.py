"""The completion menu: `textDocument/completion` and `completionItem/resolve`."""

from __future__ import annotations

from typing import Any

from lsprotocol import types

from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.handlers import requests
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.server.protocol import RAW
from codegen_lsp.lsp.session.language_server import CodegenServer
from codegen_lsp.lsp.suggest.request_log import Method

METHOD: Method = "completion"


def completion(server: CodegenServer, params: types.CompletionParams) -> Any:
    """Read the document at once, then return the coroutine that answers."""
    raw = RAW.get({})
    cursor = server.cursor_at(params.text_document.uri, params.position, raw)
    if requests.is_stale(raw, cursor):
        requests.refuse(server, cursor, params.position, METHOD, Reason.CANCELLED)
        return types.CompletionList(is_incomplete=True, items=[])
    server.supersede(cursor.uri, METHOD)
    return _answer(server, cursor, params.position)


async def _answer(server: CodegenServer, cursor: Cursor, position: types.Position) -> types.CompletionList:
    from codegen_lsp.lsp.suggest import edits

    # Clients call a menu that opens while typing "invoked" too, so every menu counts as automatic.
    record = await requests.ask(server, cursor, position, METHOD, invoked=False)
    encoding = server.protocol.documents.encoding
    return edits.completion_items(record.outcome.ranked, cursor, encoding, record.ids)


def resolve(item: types.CompletionItem) -> types.CompletionItem:
    """Add the documentation to a menu entry."""
    from codegen_lsp.lsp.suggest import edits

    return edits.resolve(item)
