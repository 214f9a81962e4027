"""Answers `initialize` while the libraries that serve everything else are still to be imported.

LSP's types alone take a third of a second of processor time to import, and an editor waits for this answer before it
sends anything. The capabilities depend on two facts about the client: its position encodings, and whether it has
notebooks. So the answer is written here from plain JSON, with the standard library alone, and the protocol then
reads the same request without answering it again. A test compares the two answers. Knows no state.
"""

from __future__ import annotations

import hmac
import json
from typing import Any, BinaryIO

from codegen_lsp import __version__
from codegen_lsp.lsp.server.transport import FrameError, decode, read_frame

TRIGGERS = [".", "(", "[", "{", ",", " ", "=", ":", '"', "'", "/", "@"]
COMMANDS = [
    "codegen.accepted",
    "codegen.showLastRequest",
    "codegen.pause",
    "codegen.status",
    "codegen.restartEngine",
    "codegen.unloadModel",
    "codegen.surprise",
    "codegen.writeBody",
]
INVALID_REQUEST = -32600
_ENCODINGS = ("utf-8", "utf-16", "utf-32")


def greet(source: BinaryIO, sink: BinaryIO, token: str = "") -> tuple[Any, bool] | FrameError | None:
    """Read the first message, and answer it if it is a well-formed `initialize`.

    With a token, the `initializationOptions` must hold it as `connectionToken`, or the client is refused.

    Returns the message and whether it was answered; the error of a frame that can't be read; None if the client is
    gone or refused.
    """
    try:
        body = read_frame(source)
        if body is None:
            return None
        message = decode(body)
    except FrameError as error:
        return None if token else error
    is_initialize = _is_well_formed(message)
    if token and not (is_initialize and hmac.compare_digest(_token_of(message), token.encode())):
        refusal = {
            "code": INVALID_REQUEST,
            "message": "initializationOptions.connectionToken is missing or wrong",
        }
        _send(sink, {"id": _id_of(message), "jsonrpc": "2.0", "error": refusal})
        return None
    if not is_initialize:
        return message, False
    answer = {"id": message["id"], "jsonrpc": "2.0", "result": result(message["params"]["capabilities"])}
    return (message, True) if _send(sink, answer) else None


def _send(sink: BinaryIO, answer: dict[str, Any]) -> bool:
    """Write a message and return whether the client still reads."""
    data = json.dumps(answer).encode()
    try:
        sink.write(b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
        sink.flush()
    except OSError:
        return False
    return True


def _token_of(message: dict[str, Any]) -> bytes:
    options = message["params"].get("initializationOptions")
    token = options.get("connectionToken") if isinstance(options, dict) else None
    return token.encode("utf-8", "replace") if isinstance(token, str) else b""


def _id_of(message: Any) -> Any:
    return message.get("id") if isinstance(message, dict) else None


def result(client: dict[str, Any]) -> dict[str, Any]:
    """Return the result of `initialize` for a client with these capabilities."""
    capabilities: dict[str, Any] = {
        "positionEncoding": _encoding(client),
        "textDocumentSync": {"openClose": True, "change": 2, "save": True},
        "completionProvider": {"triggerCharacters": TRIGGERS, "resolveProvider": True},
        "codeActionProvider": {"codeActionKinds": ["refactor.rewrite"]},
        "executeCommandProvider": {"commands": COMMANDS},
        "inlineCompletionProvider": {},
        "workspace": {
            "workspaceFolders": {"supported": True, "changeNotifications": True},
            "fileOperations": {},
        },
    }
    if isinstance(client.get("notebookDocument"), dict):
        capabilities["notebookDocumentSync"] = {"notebookSelector": [{"notebook": "*"}]}
    return {
        "capabilities": capabilities,
        "serverInfo": {"name": "codegen-lsp", "version": __version__},
    }


def plainest(message: dict[str, Any]) -> dict[str, Any]:
    """Return the request without anything that could have a wrong type, for a client that makes mistakes."""
    params = message["params"]
    client = params["capabilities"]
    capabilities: dict[str, Any] = {"general": {"positionEncodings": [_encoding(client)]}}
    if isinstance(client.get("notebookDocument"), dict):
        capabilities["notebookDocument"] = {"synchronization": {}}
    process_id = params.get("processId")
    if not isinstance(process_id, int) or isinstance(process_id, bool) or not 0 < process_id < 2**31:
        process_id = None
    kept = {"processId": process_id, "rootUri": None, "capabilities": capabilities}
    return message | {"params": kept | {"initializationOptions": params.get("initializationOptions")}}


def _is_well_formed(message: Any) -> bool:
    if (
        not isinstance(message, dict)
        or message.get("jsonrpc") != "2.0"
        or message.get("method") != "initialize"
    ):
        return False
    params, request_id = message.get("params"), message.get("id")
    good_id = isinstance(request_id, int | str) and not isinstance(request_id, bool)
    return good_id and isinstance(params, dict) and isinstance(params.get("capabilities"), dict)


def _encoding(client: dict[str, Any]) -> str:
    general = client.get("general")
    wanted = general.get("positionEncodings") if isinstance(general, dict) else None
    return next((e for e in wanted if e in _ENCODINGS), "utf-16") if isinstance(wanted, list) else "utf-16"
