"""The language server: handlers that translate between LSP and the session, nothing else.

Start-up is kept short: what a first message does not need (httpx, parsers, the engine) comes after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer
from pygls.protocol import default_converter

from codegen_lsp import __version__
from codegen_lsp.lsp import options as settings
from codegen_lsp.lsp import status as statuses
from codegen_lsp.lsp.code import cursor as cursors
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.server.documents import Document
from codegen_lsp.lsp.server.protocol import Protocol
from codegen_lsp.lsp.session import MakeBackend, Session, make_backend

logger = logging.getLogger(__name__)

CONFIGURATION_SECONDS = 3.0
"""A client that was asked for its settings and does not answer gets the defaults after so long."""


class CodegenServer(LanguageServer):
    """pygls' server with a session."""

    protocol: Protocol

    def __init__(self, make: MakeBackend = make_backend) -> None:
        super().__init__(
            "codegen-lsp",
            __version__,
            protocol_cls=Protocol,
            converter_factory=default_converter,
            notebook_document_sync=types.NotebookDocumentSyncOptions(
                notebook_selector=[types.NotebookDocumentFilterWithNotebook(notebook="*")]
            ),
        )
        board = statuses.StatusBoard(self._send_status)
        self.loading = statuses.LoadProgress(self._create_progress, self._send_progress)
        self.session = Session(board, self.loading.update, make)
        self.initial = settings.Options()
        """What `initializationOptions` came to; the client's settings are laid over it."""
        self.problems: tuple[str, ...] = ()
        self._told: tuple[str, ...] = ()
        self._newest: dict[tuple[str, str], Any] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    # To the client -------------------------------------------------------------------------------------

    def say(self, message: str, kind: types.MessageType = types.MessageType.Warning) -> None:
        """Show a message to the user."""
        self.window_show_message(types.ShowMessageParams(kind, f"codegen-lsp: {message}"))

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Into the log: a user can't act on what a client sent wrongly."""
        logger.error("%s: %s", getattr(source, "__name__", source), error)

    def supports(self, *path: str) -> bool:
        """Whether the client has a capability: `supports("window", "work_done_progress")`."""
        value: Any = self.client_capabilities
        for name in path:
            value = getattr(value, name, None)
        return bool(value)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background; what breaks there is logged."""
        task = asyncio.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send_status(self, status: statuses.Status) -> None:
        self.protocol.notify(statuses.METHOD, status.to_json())

    def _create_progress(self, token: str, agreed: Any) -> None:
        if self.supports("window", "work_done_progress"):
            self.work_done_progress.create(token, lambda _: agreed())

    def _send_progress(self, token: str, value: dict[str, Any]) -> None:
        self.protocol.notify(types.PROGRESS, types.ProgressParams(token=token, value=value))

    # Documents -----------------------------------------------------------------------------------------

    def document(self, uri: str) -> Document:
        """The open document with a URI.

        Raises:
            JsonRpcInvalidParams: it is not open.
        """
        found = self.protocol.documents.find(uri)
        if found is None:
            raise JsonRpcInvalidParams(f"the document {uri} is not open")
        return found

    def cursor_at(self, uri: str, position: types.Position, raw: dict[str, Any] | None = None) -> Cursor:
        """A snapshot around a position; earlier cells of a notebook count as text above it."""
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

    def _cells_above(self, document: Document) -> str:
        notebook = self.workspace.get_notebook_document(cell_uri=document.uri)
        if notebook is None:
            return ""
        above: list[str] = []
        for cell in notebook.cells:
            if cell.document == document.uri:
                break
            other = self.protocol.documents.find(cell.document)
            code = cell.kind == types.NotebookCellKind.Code
            if code and other is not None and other.language_id == document.language_id:
                above.append(other.source.rstrip("\r\n") + "\n\n")
        return "".join(above)

    def supersede(self, uri: str, method: str) -> None:
        """Cancel the older request of the same kind for a document: its answer would be stale."""
        older = self._newest.get((uri, method))
        self._newest[(uri, method)] = self.protocol.msg_id
        if older is not None:
            self.protocol.cancel_request(older)

    def finished(self, uri: str, method: str, msg_id: Any) -> None:
        """Forget a request that was answered."""
        if self._newest.get((uri, method)) == msg_id:
            del self._newest[(uri, method)]

    # Settings ------------------------------------------------------------------------------------------

    async def configure(self, pushed: object = None) -> None:
        """Read the client's settings and apply them; every problem is told once."""
        if self.supports("workspace", "configuration"):
            pushed = await self._pull()
        options, problems = settings.parse(pushed, self.initial)
        problems = tuple(dict.fromkeys((*self.problems, *problems)))
        for problem in problems:
            if problem not in self._told:  # Clients send all settings whenever one changes.
                self.say(problem)
        self._told, self.problems = problems, ()
        await self.session.apply(options)

    async def _pull(self) -> object:
        item = types.ConfigurationItem(section=settings.SECTION)
        try:
            async with asyncio.timeout(CONFIGURATION_SECONDS):
                answer = await self.workspace_configuration_async(types.ConfigurationParams(items=[item]))
        except (
            Exception
        ) as error:  # The client's failure, of whatever kind, must not cost the user the server.
            logger.warning("the client did not tell its settings: %r", error)
            return None
        return answer[0] if answer else None


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        logger.exception("background work failed")
