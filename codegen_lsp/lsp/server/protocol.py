"""JSON-RPC as a server must speak it with any client: every request gets exactly one answer.

Built on pygls' protocol, which leaves some requests unanswered (parameters that don't parse, requests after
shutdown) and can't cancel commands. Knows requests, ids and states; knows no feature.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any

import cattrs
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from pygls.feature_manager import is_thread_function
from pygls.protocol import (
    JsonRPCNotification,
    JsonRPCRequestMessage,
    LanguageServerProtocol,
    lsp_method,
)

from codegen_lsp.lsp.server.documents import UNVERSIONED, Documents

logger = logging.getLogger(__name__)

RAW: contextvars.ContextVar[dict[str, Any]] = contextvars.ContextVar("raw_params")
"""The parameters of a suggestion request as the client sent them: lsprotocol drops fields that LSP doesn't have."""

_KEEP_RAW = (types.TEXT_DOCUMENT_INLINE_COMPLETION, types.TEXT_DOCUMENT_COMPLETION)
_VERSIONED = (types.TEXT_DOCUMENT_DID_OPEN, types.TEXT_DOCUMENT_DID_CHANGE)

INVALID_REQUEST = -32600
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
PARSE_ERROR = -32700
NOT_INITIALIZED = -32002
REQUEST_CANCELLED = -32800


class Protocol(LanguageServerProtocol):
    """pygls' protocol with an answer to every request, cancellable commands, and `Documents`."""

    answered: int | str | None = None
    """The id of a request that was answered already (by `handshake`): no answer is sent for it."""
    exit_code: int | None = None
    """Set by `exit`: 0 after `shutdown`, 1 without it."""
    documents: Documents
    """The open documents; they exist from `initialize` on."""
    on_exit: Callable[[], None] = staticmethod(lambda: None)

    # Messages ------------------------------------------------------------------------------------------

    def receive(self, data: Any) -> None:
        """Serve one decoded message, whatever it is."""
        if not isinstance(data, dict) or data.get("jsonrpc") != "2.0":
            return self.refuse(_id_of(data), INVALID_REQUEST, "this is not a JSON-RPC 2.0 message")
        method = data.get("method")
        if "method" not in data:
            if "id" in data:
                self._receive_response(data)
            return None
        request_id = data.get("id")
        is_request = "id" in data
        if not isinstance(method, str) or (is_request and _id_of(data) is None):
            return self.refuse(_id_of(data), INVALID_REQUEST, "'method' or 'id' has the wrong type")
        refusal = self._refused_in_this_state(method)
        if refusal is not None:
            if is_request:
                self.refuse(request_id, *refusal)
            return None
        try:
            message = self.structure_message(data)
        except JsonRpcException as error:
            why = _explain(error)
            logger.warning("%s was not understood: %s", method, why)
            if is_request:
                self.refuse(request_id, INVALID_PARAMS, f"{method}: {why}")
            return None
        token = RAW.set(data.get("params") or {}) if method in _KEEP_RAW else None
        try:
            self.handle_message(message)
        finally:
            if token is not None:
                RAW.reset(token)

    def refuse(self, request_id: Any, code: int, message: str) -> None:
        """Answer a request with an error; without an id, a message that has no readable one."""
        self._send_response(request_id, error=types.ResponseError(code=code, message=message))

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Convert a message as pygls does; the parameters of methods outside LSP stay plain JSON."""
        method = data.get("method")
        if method in _VERSIONED:
            data = _with_version(data)
        if method is None or self.get_message_type(method) is not None:
            return super().structure_message(data)
        if "id" in data:
            return JsonRPCRequestMessage(data["id"], method, "2.0", data.get("params"))
        return JsonRPCNotification(method, "2.0", data.get("params"))

    def _refused_in_this_state(self, method: str) -> tuple[int, str] | None:
        if method == types.EXIT:
            return None
        if self._shutdown:
            return INVALID_REQUEST, "the server is shutting down"
        if self._workspace is None and method != types.INITIALIZE:
            return NOT_INITIALIZED, "the server is not initialized yet"
        if self._workspace is not None and method == types.INITIALIZE:
            return INVALID_REQUEST, "the server is already initialized"
        return None

    def _receive_response(self, data: dict[str, Any]) -> None:
        # Only ids of this server's requests: a client's "answer" with the id of its own request must not finish that.
        if data["id"] not in self._result_types:
            logger.warning("an answer to a request that was not sent")
            return
        result_type = self._result_types.get(data["id"])
        try:
            self.handle_message(self.structure_message(data))
        except JsonRpcException as error:
            logger.warning("an answer was not understood (%s): %s", result_type, _explain(error))
            failure = types.ResponseError(code=INVALID_PARAMS, message="the answer was not understood")
            self._handle_response(data["id"], error=failure)
        finally:
            self._result_types.pop(data["id"], None)

    def _execute_handler(
        self,
        msg_id: Any,
        handler: Callable[..., Any],
        callback: Callable[..., None],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Run a handler as pygls does; a plain function may also return a coroutine.

        Its plain part then runs before the next message is received, which is when a request's document must be
        read: a task would start after the next change has been applied.
        """
        plain = not (
            asyncio.iscoroutinefunction(handler)
            or is_thread_function(handler)  # type: ignore[no-untyped-call]
            or inspect.isgeneratorfunction(handler)
        )
        if not plain:
            super()._execute_handler(msg_id, handler, callback, args, kwargs)
            return
        future: Any = Future()
        try:
            result = handler(*(args or ()), **(kwargs or {}))
            if asyncio.iscoroutine(result):
                future = asyncio.ensure_future(result)
                self._request_futures[msg_id] = future
            else:
                future.set_result(result)
        except Exception as error:
            future.set_exception(error)
        future.add_done_callback(callback)

    def _send_handler_result(self, future: Future[Any], *, msg_id: Any) -> None:
        self._request_futures.pop(msg_id, None)
        if future.cancelled():
            self.refuse(msg_id, REQUEST_CANCELLED, "the request was cancelled")
            return
        error = future.exception()
        if error is None:
            self._send_response(msg_id, result=future.result())
        elif isinstance(error, JsonRpcException):
            self._send_response(msg_id, error=error.to_response_error())
        else:
            logger.error("a request failed", exc_info=error)
            self.refuse(msg_id, INTERNAL_ERROR, f"internal error: {type(error).__name__}: {error}")

    def _handle_cancel_notification(self, msg_id: Any) -> None:
        # The request stays in the table until it is answered. Cancelling one that was answered is not an error.
        future = self._request_futures.get(msg_id)
        if future is not None and msg_id not in self._result_types:
            future.cancel()

    def begun(self) -> bool:
        """Return whether the client has sent `initialize`."""
        return self._workspace is not None

    def cancel_request(self, msg_id: Any) -> None:
        """Cancel a request of the client, as `$/cancelRequest` does."""
        self._handle_cancel_notification(msg_id)

    def _send_response(
        self, msg_id: Any, result: Any | None = None, error: types.ResponseError | None = None
    ) -> None:
        if self.answered is None or msg_id != self.answered:
            super()._send_response(msg_id, result, error)

    # Lifecycle -----------------------------------------------------------------------------------------

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> Generator[Any, Any, types.InitializeResult]:
        """Initialize as pygls does, with `Documents`."""
        result = yield from super().lsp_initialize(params)
        plain = self.workspace
        self._workspace = self.documents = Documents(
            plain.root_uri,
            self._server._text_document_sync_kind,
            list(plain.folders.values()),
            plain.position_encoding,
        )
        return result

    @lsp_method(types.SHUTDOWN)
    def lsp_shutdown(self, *args: Any) -> Generator[Any, Any, None]:
        """Cancel the running requests (each is answered), then answer."""
        if (handler := self.fm.features.get(types.SHUTDOWN)) is not None:
            yield handler, args, None
        current = self.msg_id
        for msg_id, future in list(self._request_futures.items()):
            if msg_id != current and not future.done():
                future.cancel()
        self._shutdown = True

    @lsp_method(types.EXIT)
    def lsp_exit(self, *args: Any) -> Generator[Any, Any, None]:
        """End the session; the process ends with its event loop."""
        if (handler := self.fm.features.get(types.EXIT)) is not None:
            yield handler, args, None
        self.exit_code = 0 if self._shutdown else 1
        self.on_exit()

    @lsp_method(types.WORKSPACE_EXECUTE_COMMAND)
    def lsp_workspace__execute_command(self, params: types.ExecuteCommandParams) -> Any:
        """Run a command with its arguments as plain JSON; cancelling the request cancels its coroutine."""
        handler = self.fm.commands.get(params.command)
        if handler is None:
            raise JsonRpcInvalidParams(f"there is no command {params.command!r}")
        return handler(*(params.arguments or ()))


def _id_of(data: Any) -> int | str | None:
    request_id = data.get("id") if isinstance(data, dict) else None
    return request_id if isinstance(request_id, int | str) and not isinstance(request_id, bool) else None


def _with_version(data: dict[str, Any]) -> dict[str, Any]:
    """Return a message about a document with a version, which some clients leave out or send as null."""
    params = data.get("params")
    document = params.get("textDocument") if isinstance(params, dict) else None
    if not isinstance(params, dict) or not isinstance(document, dict) or document.get("version") is not None:
        return data
    return data | {"params": params | {"textDocument": document | {"version": UNVERSIONED}}}


def _explain(error: BaseException) -> str:
    cause = error.__cause__ or error
    try:
        return "; ".join(cattrs.transform_error(cause)[:3])
    except Exception:  # Whatever the cause is, the request must be answered.
        return f"{type(cause).__name__}: {cause}"[:300]
