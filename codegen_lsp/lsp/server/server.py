"""pygls' server with this package's protocol: documents that must be open, messages to the user, background work.

Knows pygls and the client's capabilities. Knows no session and no suggestions; `language_server` adds those.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer
from pygls.protocol import default_converter

from codegen_lsp import __version__
from codegen_lsp.lsp.server.documents import Document
from codegen_lsp.lsp.server.protocol import Protocol

logger = logging.getLogger(__name__)


class StrictServer(LanguageServer):
    """A language server that answers every request and reads only documents that the client has opened."""

    protocol: Protocol

    def __init__(self) -> None:
        super().__init__(
            "codegen-lsp",
            __version__,
            protocol_cls=Protocol,
            converter_factory=default_converter,
            notebook_document_sync=types.NotebookDocumentSyncOptions(
                notebook_selector=[types.NotebookDocumentFilterWithNotebook(notebook="*")]
            ),
        )
        self._newest: dict[tuple[str, str], Any] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def say(self, message: str, kind: types.MessageType = types.MessageType.Warning) -> None:
        """Show a message to the user."""
        self.window_show_message(types.ShowMessageParams(kind, f"codegen-lsp: {message}"))

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log an error; the user can't do anything about a wrong message of the client."""
        logger.error("%s: %s", getattr(source, "__name__", source), error)

    def supports(self, *path: str) -> bool:
        """Return whether the client has a capability: `supports("window", "work_done_progress")`."""
        value: Any = self.client_capabilities
        for name in path:
            value = getattr(value, name, None)
        return bool(value)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background; its failure is logged."""
        task = asyncio.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def document(self, uri: str) -> Document:
        """Return the open document with a URI.

        Raises:
            JsonRpcInvalidParams: the document is not open.
        """
        document = self.protocol.documents.find(uri)
        if document is None:
            raise JsonRpcInvalidParams(f"the document {uri} is not open")
        return document

    def supersede(self, uri: str, method: str) -> None:
        """Cancel the older request of the same method for a document: its answer would be stale."""
        older = self._newest.get((uri, method))
        self._newest[(uri, method)] = self.protocol.msg_id
        if older is not None:
            self.protocol.cancel_request(older)

    def finished(self, uri: str, method: str, msg_id: Any) -> None:
        """Forget a request that was answered."""
        if self._newest.get((uri, method)) == msg_id:
            del self._newest[(uri, method)]


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        logger.exception("background work failed")
