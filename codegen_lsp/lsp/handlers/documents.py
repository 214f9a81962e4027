"""Documents that are opened, changed, focused and closed: what will be needed is read into the engine's cache."""

from __future__ import annotations

from typing import Any

from lsprotocol import types

from codegen_lsp.lsp.code import cursor as cursors
from codegen_lsp.lsp.session.language_server import CodegenServer
from codegen_lsp.lsp.session.session import WARM_DELAY

DID_FOCUS = "textDocument/didFocus"
WARM_CHARACTERS_PER_TOKEN = 2
"""A low estimate, so that a file's beginning, warmed when it is opened, fits into one prompt."""


def did_open(server: CodegenServer, params: types.DidOpenTextDocumentParams) -> None:
    """Find out what other files say about a document that was opened; its beginning is warmed with them."""
    server.session.context.opened(params.text_document.uri)


def did_save(server: CodegenServer, params: types.DidSaveTextDocumentParams) -> None:
    """Let what was saved count in other documents."""
    server.session.context.saved(params.text_document.uri)


def did_change(server: CodegenServer, params: types.DidChangeTextDocumentParams) -> None:
    """Warm the text up to the last edit."""
    document = server.protocol.documents.find(params.text_document.uri)
    if document is None or document.last_edit is None:
        return
    cursor = cursors.at_offset(
        document.source,
        document.last_edit,
        uri=document.uri,
        language=document.language_id or "",
        version=document.version,
    )
    server.session.context.visited(cursor.uri, cursor.line)
    server.session.warm(cursor, WARM_DELAY)


def did_change_folders(server: CodegenServer, _: types.DidChangeWorkspaceFoldersParams) -> None:
    """Look for other files in the folders of now."""
    server.session.context.renew_all()


def did_close(server: CodegenServer, params: types.DidCloseTextDocumentParams) -> None:
    """Forget a document."""
    server.session.forget(params.text_document.uri)


def did_close_notebook(server: CodegenServer, params: types.DidCloseNotebookDocumentParams) -> None:
    """Forget the cells of a notebook."""
    for cell in params.cell_text_documents:
        server.session.forget(cell.uri)


def did_focus(server: CodegenServer, params: Any) -> None:
    """Warm the place of the last request in a document that the user returns to."""
    identifier = params.get("textDocument") if isinstance(params, dict) else None
    uri = identifier.get("uri") if isinstance(identifier, dict) else None
    if isinstance(uri, str) and server.protocol.documents.find(uri) is not None:
        record = server.session.records.last(uri)
        server.session.context.visited(uri, record.position[0] if record is not None else 0)
        warm(server, uri)


def warm(server: CodegenServer, uri: str) -> None:
    """Warm the place of the last request in a document, or its beginning."""
    record = server.session.records.last(uri)
    if server.protocol.documents.find(uri) is None:
        return
    if record is not None:
        line, character = record.position
        server.session.warm(server.cursor_at(uri, types.Position(line, character)))
    else:
        _warm_beginning(server, uri)


def _warm_beginning(server: CodegenServer, uri: str) -> None:
    """Warm a file's beginning: every prompt of a file that fits starts with it."""
    document = server.protocol.documents.find(uri)
    pipeline = server.session.pipeline
    if document is None:
        return
    text = document.source
    context = pipeline.backend.info.max_model_len if pipeline is not None else 2048
    limit = WARM_CHARACTERS_PER_TOKEN * context * 3 // 4
    end = len(text) if len(text) <= limit else text.rfind("\n", 0, limit) + 1
    cursor = cursors.at_offset(
        text, end, uri=document.uri, language=document.language_id or "", version=document.version
    )
    server.session.warm(cursor)
