"""Answers `initialize` while the libraries that serve everything else are still to be imported.

LSP's types alone take a third of a second of processor time to import, and an editor waits for this answer
before it sends anything. What the server offers depends on two things that the client says: its position
encodings, and whether it has notebooks. So the answer is written here from plain JSON, with the standard library
alone, and the protocol then reads the same request without answering it again. A test holds the two against each
other. Knows no state.
"""

from __future__ import annotations

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
_ENCODINGS = ("utf-8", "utf-16", "utf-32")


def greet(source: BinaryIO, sink: BinaryIO) -> tuple[Any, bool] | FrameError | None:
    """Read the first message, and answer it if it is a sound `initialize`.

    Gives the message and whether it was answered; the error of a frame that can't be read; None at the end.
    """
    try:
        body = read_frame(source)
        if body is None:
            return None
        message = decode(body)
    except FrameError as error:
        return error
    if not _is_sound(message):
        return message, False
    answer = {"id": message["id"], "jsonrpc": "2.0", "result": result(message["params"]["capabilities"])}
    data = json.dumps(answer).encode()
    try:
        sink.write(b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
        sink.flush()
    except OSError:
        return None
    return message, True


def result(client: dict[str, Any]) -> dict[str, Any]:
    """The result of `initialize` for a client with these capabilities."""
    capabilities: dict[str, Any] = {
        "positionEncoding": _encoding(client),
        "textDocumentSync": {"openClose": True, "change": 2, "save": False},
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
    """The same request with nothing in it that could be of a wrong type, for a client that is a little wrong."""
    params = message["params"]
    client = params["capabilities"]
    capabilities: dict[str, Any] = {"general": {"positionEncodings": [_encoding(client)]}}
    if isinstance(client.get("notebookDocument"), dict):
        capabilities["notebookDocument"] = {"synchronization": {}}
    kept = {"processId": None, "rootUri": None, "capabilities": capabilities}
    return message | {"params": kept | {"initializationOptions": params.get("initializationOptions")}}


def _is_sound(message: Any) -> bool:
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
