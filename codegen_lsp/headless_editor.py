"""A headless editor: starts the real language server over stdio, opens documents, requests suggestions.

Knows LSP from the client's side. `codegen-lsp complete`, the benchmarks and the typing replay use it, so that they
show what an editor would get. Knows nothing of the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

from codegen_lsp import __version__
from codegen_lsp.lsp.code.languages import language_of
from codegen_lsp.wire.child_process import NEUTRAL_FOLDER, package_command, safe_environment
from codegen_lsp.wire.errors import CodegenError

ServerStatus = Mapping[str, Any]


def workspace_of(path: Path) -> Path:
    """Return the folder that a person would open to work on a file: the one that holds its outermost package."""
    folder = path.absolute().parent
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
    return folder


class SessionError(CodegenError):
    """The language server could not be started or did not answer; the message quotes what it printed last."""


def plain(value: Any) -> Any:
    """Return JSON data as dicts and lists, from the named tuples that pygls makes of untyped objects."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill a process that still runs, and close what the event loop keeps of it.

    The end of a process and the ends of its pipes reach the loop one by one. Who leaves between them leaves a transport
    behind, which warns when it is collected.
    """
    process._transport.close()  # type: ignore[attr-defined]
    await process.wait()
    await asyncio.sleep(0)  # The pipes close in the loop's next turn.


class HeadlessEditor:
    """One run of the language server, as an async context manager.

    ```python
    async with HeadlessEditor({"model": "nano"}) as editor:
        await editor.ready()
        uri = editor.open(path)
        items = await editor.inline(uri, line=10, character=4)
    ```
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        root: Path | None = None,
        on_status: Callable[[ServerStatus], None] | None = None,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
    ) -> None:
        """`options` are the initialization options; their relative paths mean this process's working directory.

        `command` replaces the way the language server is called, `env` this process's environment.
        """
        self.options = _with_absolute_paths(options)
        self.root = root
        self.env = safe_environment(env)
        self.command = tuple(command or package_command())
        self.status: ServerStatus = {"state": "starting", "message": ""}
        self.messages: list[str] = []
        """What the language server has shown to the user (`window/showMessage`)."""
        self._on_status = on_status
        self._changed = asyncio.Event()
        self._stderr: deque[str] = deque(maxlen=20)
        self._drain: asyncio.Task[None] | None = None
        self.client = _client(self)

    async def __aenter__(self) -> HeadlessEditor:
        await self.client.start_io(*self.command, env=self.env, cwd=NEUTRAL_FOLDER)
        self._drain = asyncio.create_task(self._read_stderr())
        params = lsp.InitializeParams(
            process_id=os.getpid(),
            client_info=lsp.ClientInfo("codegen-lsp headless editor", __version__),
            root_uri=self.root.as_uri() if self.root else None,
            capabilities=lsp.ClientCapabilities(
                text_document=lsp.TextDocumentClientCapabilities(
                    inline_completion=lsp.InlineCompletionClientCapabilities(),
                    completion=lsp.CompletionClientCapabilities(),
                ),
                general=lsp.GeneralClientCapabilities(position_encodings=[lsp.PositionEncodingKind.Utf32]),
            ),
            initialization_options=self.options,
        )
        answer = await self._answered(self.client.initialize_async(params), "initialize")
        self.encoding = answer.capabilities.position_encoding or lsp.PositionEncodingKind.Utf16
        self.client.initialized(lsp.InitializedParams())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server = self.client._server
        try:
            if server is not None and server.returncode is None:
                await asyncio.wait_for(self.client.shutdown_async(None), 5)
                self.client.exit(None)
                await asyncio.wait_for(server.wait(), 5)
        except Exception:
            # Whatever fails at its end, the language server must not outlive this editor.
            if server is not None and server.returncode is None:
                server.kill()
        await self.client.stop()  # type: ignore[no-untyped-call]
        if self._drain is not None:
            self._drain.cancel()
        if server is not None:
            await end(server)

    async def ready(self, seconds: float = 600.0) -> None:
        """Wait until the model is loaded.

        Raises:
            SessionError: the language server reported an error, ended, or took longer than `seconds`.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        while self.status["state"] not in ("ready", "busy"):
            if self.status["state"] == "error":
                raise SessionError(str(self.status["message"]))
            if self.client.stopped:
                raise SessionError(f"the language server ended: {self._last_words()}")
            if asyncio.get_running_loop().time() > deadline:
                raise SessionError(
                    f"the model was not ready after {seconds:.0f} s ({self.status['message'] or 'starting'})"
                )
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.5)

    def open(self, path: Path, text: str | None = None, language: str | None = None) -> str:
        """Open a file, or `text` in its place, and return the document's URI."""
        uri = path.absolute().as_uri()
        if text is None:
            text = path.read_text(encoding="utf-8")
        item = lsp.TextDocumentItem(uri, language or language_of(path), 1, text)
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))
        return uri

    def change(self, uri: str, version: int, edit: lsp.Range, text: str) -> None:
        """Replace a range of a document, as one keystroke does."""
        self.client.text_document_did_change(
            lsp.DidChangeTextDocumentParams(
                lsp.VersionedTextDocumentIdentifier(version, uri),
                [lsp.TextDocumentContentChangePartial(edit, text)],
            )
        )

    async def inline(
        self, uri: str, line: int, character: int, *, invoked: bool = True
    ) -> Sequence[lsp.InlineCompletionItem]:
        """Return the ghost texts at a 0-based position (UTF-32 columns)."""
        kind = lsp.InlineCompletionTriggerKind
        params = lsp.InlineCompletionParams(
            context=lsp.InlineCompletionContext(kind.Invoked if invoked else kind.Automatic),
            text_document=lsp.TextDocumentIdentifier(uri),
            position=lsp.Position(line, character),
        )
        request = self.client.text_document_inline_completion_async(params)
        answer = await self._answered(request, "inlineCompletion")
        if answer is None:
            return []
        return answer.items if isinstance(answer, lsp.InlineCompletionList) else answer

    async def command_result(self, name: str, *arguments: Any) -> Any:
        """Return the answer of a command, as plain JSON data."""
        params = lsp.ExecuteCommandParams(name, list(arguments))
        answer = await self._answered(self.client.workspace_execute_command_async(params), name)
        return plain(answer)

    async def last_request(self, uri: str | None = None) -> dict[str, Any]:
        """Return everything about the last request: prompt, candidates, filters, ranking, timings."""
        arguments = [{"uri": uri}] if uri else []
        answer = await self.command_result("codegen.showLastRequest", *arguments)
        return answer if isinstance(answer, dict) else {}

    async def _answered(self, request: Any, what: str) -> Any:
        answer = asyncio.ensure_future(request)
        ended = asyncio.create_task(self._ended())
        await asyncio.wait({answer, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not answer.done():
            answer.cancel()
            raise SessionError(f"the language server ended at {what}: {self._last_words()}")
        return answer.result()

    async def _ended(self) -> None:
        if self.client._server is not None:
            await self.client._server.wait()

    async def _read_stderr(self) -> None:
        server = self.client._server
        if server is None or server.stderr is None:
            return
        while line := await server.stderr.readline():
            self._stderr.append(line.decode(errors="replace").rstrip())

    def _last_words(self) -> str:
        return next((line for line in reversed(self._stderr) if line.strip()), "it printed nothing")

    def _status_changed(self, params: Any) -> None:
        self.status = {"state": "starting", "message": ""} | plain(params)
        self._changed.set()
        if self._on_status is not None:
            self._on_status(self.status)


def _with_absolute_paths(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options whose paths are absolute, for a language server with another working directory."""
    absolute = dict(options)
    for name in ("model", "deviceMap", "offloadFolder"):
        value = absolute.get(name)
        is_path = isinstance(value, str) and (
            value.startswith(".") or value.endswith(".json") or name == "offloadFolder"
        )
        if is_path and value and not value.startswith("~"):
            absolute[name] = str(Path(value).resolve())
    return absolute


def _client(editor: HeadlessEditor) -> LanguageClient:
    logging.getLogger("pygls").setLevel(logging.CRITICAL)
    client = LanguageClient("codegen-lsp headless editor", __version__)

    # Functions, not methods: pygls sets attributes on its handlers, and passes the client itself to a first parameter
    # whose annotation it fits, such as `object`.
    def status_changed(params: Any) -> None:
        editor._status_changed(params)

    def show_message(params: lsp.ShowMessageParams) -> None:
        editor.messages.append(params.message)

    def log_message(params: lsp.LogMessageParams) -> None:
        editor._stderr.append(params.message)

    client.feature("didChangeStatus")(status_changed)
    client.feature(lsp.WINDOW_SHOW_MESSAGE)(show_message)
    client.feature(lsp.WINDOW_LOG_MESSAGE)(log_message)
    return client
