"""The language server: pygls' server with the session of one connected editor.

Knows how documents become cursors, how the client's settings become options, and how status and load progress
reach the client. The handlers, which answer the client's messages, are registered in `app`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from lsprotocol import types

from codegen_lsp.lsp.code import cursor as cursors
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.context.keeper import Desk
from codegen_lsp.lsp.context.snapshot import OpenDocument
from codegen_lsp.lsp.options import options
from codegen_lsp.lsp.options.options import Options
from codegen_lsp.lsp.server.documents import Document
from codegen_lsp.lsp.server.server import StrictServer
from codegen_lsp.lsp.session.session import MakeBackend, Session, make_backend
from codegen_lsp.lsp.session.status import METHOD, LoadProgress, Status, StatusBoard
from codegen_lsp.lsp.uris import canonical

logger = logging.getLogger(__name__)

CONFIGURATION_SECONDS = 3.0
"""How long to wait for a client's answer to `workspace/configuration`; then the defaults apply."""


class CodegenServer(StrictServer):
    """The language server of one editor."""

    def __init__(self, make: MakeBackend = make_backend) -> None:
        super().__init__()
        board = StatusBoard(self._send_status)
        self.loading = LoadProgress(self._create_progress, self._send_progress)
        self.session = Session(board, self.loading.update, make, self._desk)
        self.initial_options = Options()
        """The options of `initializationOptions`; the client's settings are laid over them."""
        self.initial_problems: tuple[str, ...] = ()
        self.trusts_settings = False
        """Whether the client keeps a workspace from choosing restricted options, see `options.FILTERED`."""
        self.is_initialized = False
        """Whether the client has sent `initialized`."""
        self._reported: tuple[str, ...] = ()

    # To the client -------------------------------------------------------------------------------------

    def _send_status(self, status: Status) -> None:
        self.protocol.notify(METHOD, status.to_json())

    def _create_progress(self, token: str, agreed: Any) -> None:
        if self.supports("window", "work_done_progress"):
            self.work_done_progress.create(token, lambda _: agreed())

    def _send_progress(self, token: str, value: dict[str, Any]) -> None:
        self.protocol.notify(types.PROGRESS, types.ProgressParams(token=token, value=value))

    # Documents -----------------------------------------------------------------------------------------

    def cursor_at(self, uri: str, position: types.Position, raw: dict[str, Any] | None = None) -> Cursor:
        """Return a snapshot around a position; earlier cells of a notebook count as text above it."""
        document = self.document(uri)
        formatting = (raw or {}).get("formattingOptions")
        formatting = formatting if isinstance(formatting, dict) else {}
        tab_size, spaces = formatting.get("tabSize"), formatting.get("insertSpaces")
        cursor = cursors.read(
            document,
            position,
            self.protocol.documents.encoding,
            tab_size=tab_size if isinstance(tab_size, int) and not isinstance(tab_size, bool) else None,
            insert_spaces=spaces if isinstance(spaces, bool) else None,
        )
        above = self._cells_above(document)
        return replace(cursor, prefix=above + cursor.prefix) if above else cursor

    def _desk(self) -> Desk:
        """Return the workspace folders and the open documents as they are now."""
        documents = self.protocol.documents
        folders = list(documents.folders) or [uri for uri in (documents.root_uri,) if uri]
        opened = {
            canonical(document.uri): OpenDocument(document.uri, document.language_id or "", document.source)
            for document in documents.all()
        }
        return Desk(tuple(folders), opened)

    def _cells_above(self, document: Document) -> str:
        notebook = self.workspace.get_notebook_document(cell_uri=document.uri)
        if notebook is None:
            return ""
        texts: list[str] = []
        for cell in notebook.cells:
            if canonical(cell.document) == canonical(document.uri):
                break
            cell_document = self.protocol.documents.find(cell.document)
            is_code = cell.kind == types.NotebookCellKind.Code
            if is_code and cell_document is not None and cell_document.language_id == document.language_id:
                texts.append(cell_document.source.rstrip("\r\n") + "\n\n")
        return "".join(texts)

    # Options -------------------------------------------------------------------------------------------

    async def configure(self, pushed: object = None) -> None:
        """Read the client's settings and apply them; each problem is reported once."""
        pulls = self.supports("workspace", "configuration")
        settings = await self._pull() if pulls else pushed
        if pulls and self.trusts_settings:
            await self._apply(*options.parse_layers(settings, self.initial_options))
        else:
            await self._apply(*options.parse(settings, self.initial_options, trusted=self.trusts_settings))

    async def apply_initial_options(self) -> None:
        """Apply the initialization options alone, without asking the client for its settings."""
        await self._apply(self.initial_options, ())

    async def _apply(self, wanted: Options, problems: tuple[str, ...]) -> None:
        problems = tuple(dict.fromkeys((*self.initial_problems, *problems)))
        for problem in problems:
            if problem not in self._reported:  # Clients send all settings whenever one changes.
                self.say(problem)
        self._reported, self.initial_problems = problems, ()
        await self.session.apply(wanted)

    async def _pull(self) -> object:
        item = types.ConfigurationItem(section=options.SECTION)
        try:
            async with asyncio.timeout(CONFIGURATION_SECONDS):
                answer = await self.workspace_configuration_async(types.ConfigurationParams(items=[item]))
        except Exception as error:  # Whatever fails in the client must not cost the user the language server.
            logger.warning("the client did not report its settings: %r", error)
            return None
        return answer[0] if answer else None
