"""The handlers of LSP's methods. Each reads what it needs at once, then awaits the session."""

from __future__ import annotations

from typing import Any

from lsprotocol import types

from codegen_lsp.lsp import options as settings
from codegen_lsp.lsp.code import cursor as cursors
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.server.handshake import TRIGGERS
from codegen_lsp.lsp.server.protocol import RAW
from codegen_lsp.lsp.server.server import CodegenServer
from codegen_lsp.lsp.session import WARM_DELAY
from codegen_lsp.lsp.suggest.request_log import Method, Outcome

WARM_CHARACTERS_PER_TOKEN = 2
"""So that a file's beginning, warmed when it is opened, surely fits into one prompt."""


def register(server: CodegenServer) -> None:
    """Give a server its features."""
    for add in (_lifecycle, _documents, _notebooks, _inline, _menu, _notifications):
        add(server)


def _lifecycle(server: CodegenServer) -> None:
    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.initial, server.problems = settings.parse(params.initialization_options)

    @server.feature(types.INITIALIZED)
    async def initialized(_: Any) -> None:
        server.session.board.update()
        if server.supports("workspace", "did_change_configuration", "dynamic_registration"):
            server.spawn(_watch_settings(server))
        await server.configure()

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def did_change_configuration(params: types.DidChangeConfigurationParams) -> None:
        pushed = params.settings
        await server.configure(pushed.get(settings.SECTION) if isinstance(pushed, dict) else pushed)


async def _watch_settings(server: CodegenServer) -> None:
    registration = types.Registration(
        id="codegen-settings",
        method=types.WORKSPACE_DID_CHANGE_CONFIGURATION,
        register_options=types.DidChangeConfigurationRegistrationOptions(section=settings.SECTION),
    )
    await server.client_register_capability_async(types.RegistrationParams(registrations=[registration]))


def _documents(server: CodegenServer) -> None:
    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        _warm_beginning(server, params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        _warm_at_edit(server, params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        server.session.forget(params.text_document.uri)

    @server.feature("textDocument/didFocus")
    def did_focus(params: Any) -> None:
        document = params.get("textDocument") if isinstance(params, dict) else None
        uri = document.get("uri") if isinstance(document, dict) else None
        if not isinstance(uri, str):
            return
        record = server.session.records.last(uri)
        if record is not None:
            line, character = record.position
            server.session.warm(server.cursor_at(uri, types.Position(line, character)))
        elif server.protocol.documents.find(uri) is not None:
            _warm_beginning(server, uri)


def _warm_beginning(server: CodegenServer, uri: str) -> None:
    """Read a file's beginning ahead: every prompt of a file that fits starts with it."""
    document = server.protocol.documents.find(uri)
    pipeline = server.session.pipeline
    if document is None:
        return
    text = document.source
    context = pipeline.backend.info.max_model_len if pipeline is not None else 2048
    limit = WARM_CHARACTERS_PER_TOKEN * context * 3 // 4
    end = len(text) if len(text) <= limit else text.rfind("\n", 0, limit) + 1
    cursor = cursors.at_offset(
        text, end, uri=uri, language=document.language_id or "", version=document.version
    )
    server.session.warm(cursor)


def _warm_at_edit(server: CodegenServer, uri: str) -> None:
    document = server.protocol.documents.find(uri)
    if document is None or document.last_edit is None:
        return
    cursor = cursors.at_offset(
        document.source,
        document.last_edit,
        uri=uri,
        language=document.language_id or "",
        version=document.version,
    )
    server.session.warm(cursor, WARM_DELAY)


def _notebooks(server: CodegenServer) -> None:
    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseNotebookDocumentParams) -> None:
        for cell in params.cell_text_documents:
            server.session.forget(cell.uri)


def _inline(server: CodegenServer) -> None:
    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    def inline_completion(params: types.InlineCompletionParams) -> Any:
        raw = RAW.get({})
        cursor = server.cursor_at(params.text_document.uri, params.position, raw)
        selected = params.context.selected_completion_info
        if selected is not None:
            encoding = server.protocol.documents.encoding
            chosen = cursors.select(cursor, selected.text, selected.range, encoding)
            if chosen is None:
                refuse(server, cursor, params, "inlineCompletion", Reason.MISMATCH)
                return types.InlineCompletionList(items=[])
            cursor = chosen
        if _stale(raw, cursor):
            refuse(server, cursor, params, "inlineCompletion", Reason.CANCELLED)
            return types.InlineCompletionList(items=[])
        invoked = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
        server.supersede(cursor.uri, "inlineCompletion")
        return answer(cursor, params.position, invoked)

    async def answer(cursor: Cursor, position: types.Position, invoked: bool) -> types.InlineCompletionList:
        from codegen_lsp.lsp.suggest import edits

        record = await _ask(server, cursor, position, "inlineCompletion", invoked)
        items = edits.inline_items(
            record.outcome.ranked, cursor, server.protocol.documents.encoding, record.ids
        )
        return types.InlineCompletionList(items=items)


def _menu(server: CodegenServer) -> None:
    offer = types.CompletionOptions(trigger_characters=TRIGGERS, resolve_provider=True)

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, offer)
    def completion(params: types.CompletionParams) -> Any:
        raw = RAW.get({})
        cursor = server.cursor_at(params.text_document.uri, params.position, raw)
        if _stale(raw, cursor):
            refuse(server, cursor, params, "completion", Reason.CANCELLED)
            return types.CompletionList(is_incomplete=True, items=[])
        server.supersede(cursor.uri, "completion")
        return answer(cursor, params.position)

    async def answer(cursor: Cursor, position: types.Position) -> types.CompletionList:
        from codegen_lsp.lsp.suggest import edits

        # Clients call a menu that opens while typing "invoked" too, so every menu counts as automatic.
        record = await _ask(server, cursor, position, "completion", False)
        return edits.completion_items(
            record.outcome.ranked, cursor, server.protocol.documents.encoding, record.ids
        )

    @server.feature(types.COMPLETION_ITEM_RESOLVE)
    def resolve(item: types.CompletionItem) -> types.CompletionItem:
        from codegen_lsp.lsp.suggest import edits

        return edits.resolve(item)


def refuse(
    server: CodegenServer,
    cursor: Cursor,
    params: types.InlineCompletionParams | types.CompletionParams,
    method: Method,
    reason: Reason,
) -> None:
    """Note why a request is answered with nothing at once."""
    why = {
        Reason.MISMATCH: "the menu's entry does not stand at the cursor",
        Reason.CANCELLED: "the request is for another version of the document",
    }
    position = (params.position.line, params.position.character)
    server.session.keep(cursor, position, method, Outcome(reason=reason, message=why[reason]))


async def _ask(
    server: CodegenServer, cursor: Cursor, position: types.Position, method: Method, invoked: bool
) -> Any:
    msg_id = server.protocol.msg_id
    try:
        at = (position.line, position.character)
        return await server.session.answer(cursor, at, method, invoked=invoked)
    finally:
        server.finished(cursor.uri, method, msg_id)


def _stale(raw: dict[str, Any], cursor: Cursor) -> bool:
    """Whether the client speaks of another version of the document than the one that it sent."""
    document = raw.get("textDocument")
    version = document.get("version") if isinstance(document, dict) else None
    return isinstance(version, int) and cursor.version is not None and version != cursor.version


def _notifications(server: CodegenServer) -> None:
    @server.feature("textDocument/didShowCompletion")
    def did_show(params: Any) -> None:
        if isinstance(params, dict) and isinstance(params.get("item"), dict):
            server.session.records.shown += 1

    @server.feature("textDocument/didPartiallyAcceptCompletion")
    def did_partially_accept(params: Any) -> None:
        length = params.get("acceptedLength") if isinstance(params, dict) else None
        if isinstance(length, int) and length >= 1:
            server.session.records.partly_accepted += 1
