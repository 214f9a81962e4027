"""A headless editor: pytest-lsp's client, a language server process of its own, and what editors do.

Statuses and messages are kept in the order in which they came. Columns are UTF-16 unless told otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pytest_lsp.client import make_test_lsp_client

from codegen_lsp.headless_editor import end, plain
from codegen_lsp.lsp.options.options import FILTERED
from codegen_lsp.wire.client import HttpEngineClient
from support.engines import engines_in
from support.fake_engine import until

ROOT = Path(__file__).parents[2]
SERVER = (sys.executable, "-P", "-m", "codegen_lsp")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """An environment in which engines live in `folder`, and no host is asked for anything."""
    env = dict(os.environ) | {"CODEGEN_LSP_RUNTIME_DIR": str(folder), "HF_HUB_OFFLINE": "1"}
    env["PYTHONPATH"] = str(ROOT)
    return env | more


def capabilities(encodings: Sequence[lsp.PositionEncodingKind] = ()) -> lsp.ClientCapabilities:
    """What a complete editor can do."""
    return lsp.ClientCapabilities(
        workspace=lsp.WorkspaceClientCapabilities(
            configuration=True,
            apply_edit=True,
            workspace_edit=lsp.WorkspaceEditClientCapabilities(document_changes=True),
        ),
        notebook_document=lsp.NotebookDocumentClientCapabilities(
            synchronization=lsp.NotebookDocumentSyncClientCapabilities()
        ),
        window=lsp.WindowClientCapabilities(work_done_progress=True),
        general=lsp.GeneralClientCapabilities(position_encodings=list(encodings) or None),
        text_document=lsp.TextDocumentClientCapabilities(
            inline_completion=lsp.InlineCompletionClientCapabilities(),
            completion=lsp.CompletionClientCapabilities(
                completion_item=lsp.ClientCompletionItemOptions(
                    documentation_format=[lsp.MarkupKind.Markdown], insert_replace_support=True
                )
            ),
            code_action=lsp.CodeActionClientCapabilities(
                code_action_literal_support=lsp.ClientCodeActionLiteralOptions(
                    code_action_kind=lsp.ClientCodeActionKindOptions(value_set=["refactor.rewrite"])
                )
            ),
        ),
    )


CANCELLED = -32800
"""The error code of a request that was cancelled."""


async def refusal(request: Awaitable[Any]) -> int:
    """Return the code of the error that a request is answered with."""
    with pytest.raises(JsonRpcException) as caught:
        await request
    return caught.value.code


class Editor:
    """One run of the language server, as an async context manager."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        encodings: Sequence[lsp.PositionEncodingKind] = (),
        env: Mapping[str, str] | None = None,
        command: Sequence[str] = SERVER,
    ) -> None:
        """`settings` is what `workspace/configuration` answers, `options` the initialization options."""
        self.folder = folder
        self.env = environment(folder, **(env or {}))
        self.argv = command
        self.options = options
        self.encodings = encodings
        self.client = make_test_lsp_client()
        self.client.set_configuration({"codegen": dict(settings or {})})
        self.statuses: list[dict[str, Any]] = []
        self.edits: list[lsp.ApplyWorkspaceEditParams] = []
        self.apply = True
        self.texts: dict[str, str] = {}
        self._versions: dict[str, int] = {}
        self._listen()

    def _listen(self) -> None:
        @self.client.feature("didChangeStatus")
        def status(params: Any) -> None:
            self.statuses.append(plain(params))

        @self.client.feature(lsp.WORKSPACE_APPLY_EDIT)
        def apply_edit(params: lsp.ApplyWorkspaceEditParams) -> lsp.ApplyWorkspaceEditResult:
            self.edits.append(params)
            return lsp.ApplyWorkspaceEditResult(applied=self.apply)

    async def __aenter__(self) -> Editor:
        await self.client.start_io(*self.argv, env=self.env, cwd=self.folder)
        assert self.client._server is not None
        self.process = psutil.Process(self.client._server.pid)
        self.answer = await self.client.initialize_session(
            lsp.InitializeParams(
                capabilities=capabilities(self.encodings),
                initialization_options={FILTERED: True} | dict(self.options or {}),
                root_uri=self.folder.as_uri(),
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server = self.client._server
        assert server is not None
        with contextlib.suppress(Exception):
            async with asyncio.timeout(10):
                await self.client.shutdown_session()
        if server.returncode is None:
            server.kill()
        with contextlib.suppress(Exception):  # The client's complaint about a server that a test has killed.
            await self.client.stop()
        await end(server)

    # State ---------------------------------------------------------------------------------------------

    @property
    def status(self) -> dict[str, Any]:
        return self.statuses[-1] if self.statuses else {"state": "none"}

    @property
    def states(self) -> list[str]:
        return [s["state"] for s in self.statuses]

    @property
    def messages(self) -> list[str]:
        return [m.message for m in self.client.messages]

    async def ready(self, seconds: float = 120) -> None:
        """Wait until the model is loaded."""
        await until(lambda: self.status["state"] in ("ready", "busy", "error"), seconds)
        assert self.status["state"] != "error", self.status["message"]

    def engines(self) -> list[psutil.Process]:
        return engines_in(self.folder)

    async def metrics(self) -> dict[str, float]:
        """The engine's counters, labels left out and summed over."""
        (engine,) = self.engines()
        words = engine.cmdline()
        http = HttpEngineClient(socket=Path(words[words.index("--socket") + 1]))
        try:
            text = await http.metrics()
        finally:
            await http.aclose()
        numbers: dict[str, float] = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                numbers[name] = float(value)
                bare = name.partition("{")[0]
                if bare != name:
                    numbers[bare] = numbers.get(bare, 0.0) + float(value)
        return numbers

    # Documents -----------------------------------------------------------------------------------------

    def open(self, text: str, name: str = "a.py", language: str = "python", uri: str = "") -> str:
        uri = uri or (self.folder / name).as_uri()
        self.texts[uri], self._versions[uri] = text, 1
        item = lsp.TextDocumentItem(uri, language, 1, text)
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))
        return uri

    def close(self, uri: str) -> None:
        identifier = lsp.TextDocumentIdentifier(uri)
        self.client.text_document_did_close(lsp.DidCloseTextDocumentParams(identifier))

    def insert(self, uri: str, position: lsp.Position, text: str, *, end: lsp.Position | None = None) -> None:
        """Type at a position, or over a range."""
        self._versions[uri] += 1
        self.client.text_document_did_change(
            lsp.DidChangeTextDocumentParams(
                lsp.VersionedTextDocumentIdentifier(self._versions[uri], uri),
                [lsp.TextDocumentContentChangePartial(lsp.Range(position, end or position), text)],
            )
        )

    # Requests ------------------------------------------------------------------------------------------

    async def inline(
        self, uri: str, line: int, character: int, **context: Any
    ) -> list[lsp.InlineCompletionItem]:
        """Request suggestions; `context` is that of `inline_params`."""
        answer = await self.client.text_document_inline_completion_async(
            self.inline_params(uri, line, character, **context)
        )
        assert isinstance(answer, lsp.InlineCompletionList)
        return list(answer.items)

    def inline_params(
        self,
        uri: str,
        line: int,
        character: int,
        *,
        invoked: bool = False,
        selected: lsp.SelectedCompletionInfo | None = None,
    ) -> lsp.InlineCompletionParams:
        kind = lsp.InlineCompletionTriggerKind
        return lsp.InlineCompletionParams(
            context=lsp.InlineCompletionContext(kind.Invoked if invoked else kind.Automatic, selected),
            text_document=lsp.TextDocumentIdentifier(uri),
            position=lsp.Position(line, character),
        )

    async def menu(self, uri: str, line: int, character: int) -> lsp.CompletionList:
        answer = await self.client.text_document_completion_async(
            lsp.CompletionParams(lsp.TextDocumentIdentifier(uri), lsp.Position(line, character))
        )
        assert isinstance(answer, lsp.CompletionList)
        return answer

    async def command(self, name: str, *arguments: Any) -> Any:
        params = lsp.ExecuteCommandParams(name, list(arguments))
        return plain(await self.client.workspace_execute_command_async(params))

    def send(self, identifier: str, method: str, params: Any) -> asyncio.Future[Any]:
        """Send a request with an id, so that it can be cancelled before it is answered."""
        protocol = self.client.protocol
        return asyncio.ensure_future(protocol.send_request_async(method, params, msg_id=identifier))

    def send_inline(
        self, identifier: str, uri: str, line: int, character: int, **context: Any
    ) -> asyncio.Future[Any]:
        params = self.inline_params(uri, line, character, **context)
        return self.send(identifier, lsp.TEXT_DOCUMENT_INLINE_COMPLETION, params)

    def send_command(self, identifier: str, name: str, *arguments: Any) -> asyncio.Future[Any]:
        params = lsp.ExecuteCommandParams(name, list(arguments))
        return self.send(identifier, lsp.WORKSPACE_EXECUTE_COMMAND, params)

    def cancel(self, identifier: str) -> None:
        self.client.cancel_request(lsp.CancelParams(identifier))

    async def cancels(self, identifier: str, request: asyncio.Future[Any]) -> bool:
        """Cancel a request; return whether it was cancelled before it was answered."""
        self.cancel(identifier)
        (answer,) = await asyncio.gather(request, return_exceptions=True)
        if isinstance(answer, JsonRpcException):
            assert answer.code == CANCELLED
            return True
        return False

    async def last(self, uri: str | None = None) -> dict[str, Any]:
        answer = await self.command("codegen.showLastRequest", *([{"uri": uri}] if uri else []))
        assert isinstance(answer, dict)
        return answer

    async def reason(self, uri: str | None = None) -> str | None:
        found = (await self.last(uri))["reason"]
        assert found is None or isinstance(found, str)
        return found

    async def until(self, condition: Callable[[], Any], seconds: float = 30) -> None:
        await until(condition, seconds)


@contextlib.asynccontextmanager
async def editors_in(folder: Path) -> AsyncIterator[StartEditor]:
    """Yield a function that starts an editor whose engines live in `folder`; all of them end with the context."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(settings: dict[str, Any] | None = None, **more: Any) -> Editor:
            return await stack.enter_async_context(Editor(folder, settings, **more))

        yield start


def text_of(item: lsp.InlineCompletionItem) -> str:
    """Return the text of a suggestion that is not a snippet."""
    assert isinstance(item.insert_text, str)
    return item.insert_text


StartEditor = Callable[..., Coroutine[Any, Any, "Editor"]]
"""What the fixture `editor` gives: starts an editor with settings."""
