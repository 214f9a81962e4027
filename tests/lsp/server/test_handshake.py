"""The early answer to `initialize` is what the protocol itself would have answered."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.editor import environment
from support.raw import RawClient, frame

from codegen_lsp.lsp.app import build_server
from codegen_lsp.lsp.server import handshake
from codegen_lsp.lsp.server.transport import FrameError

CLIENTS: list[dict[str, Any]] = [
    {},
    {"general": {"positionEncodings": ["utf-8", "utf-16"]}},
    {"general": {"positionEncodings": ["utf-32"]}},
    {"general": {"positionEncodings": ["ascii"]}},
    {"general": {}},
    {"notebookDocument": {"synchronization": {}}},
    {
        "workspace": {"workspaceFolders": True, "configuration": True},
        "textDocument": {"inlineCompletion": {}, "completion": {"contextSupport": True}},
        "window": {"workDoneProgress": True},
    },
]


class _Sink(io.BytesIO):
    pass


def request(client: Any, **more: Any) -> dict[str, Any]:
    params = {"processId": None, "rootUri": None, "capabilities": client} | more
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}


@pytest.mark.parametrize("client", CLIENTS)
def test_it_says_what_the_protocol_says(client: dict[str, Any]) -> None:
    sink = _Sink()
    server = build_server()
    server.protocol.set_writer(sink)
    server.protocol.receive(request(client))
    by_protocol = json.loads(sink.getvalue().split(b"\r\n\r\n", 1)[1])
    early = _Sink()
    assert handshake.greet(io.BytesIO(frame(request(client))), early) == (request(client), True)
    assert json.loads(early.getvalue().split(b"\r\n\r\n", 1)[1]) == by_protocol


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "id": 1, "method": "shutdown"},
        request([]),
        request(None),
        request({}) | {"id": None},
        request({}) | {"params": []},
        [],
        7,
    ],
)
def test_what_is_no_sound_initialize_is_left_to_the_protocol(message: Any) -> None:
    sink = _Sink()
    assert handshake.greet(io.BytesIO(frame(message)), sink) == (message, False)
    assert sink.getvalue() == b""


def test_streams_that_end_or_break() -> None:
    assert handshake.greet(io.BytesIO(b""), _Sink()) is None
    assert isinstance(handshake.greet(io.BytesIO(b"nonsense\r\n\r\n"), _Sink()), FrameError)


def test_it_needs_none_of_the_libraries() -> None:
    program = (
        "import sys; import codegen_lsp.lsp.main;"
        "print(*[m for m in ('pygls', 'lsprotocol', 'asyncio', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


async def test_a_client_that_is_a_little_wrong_is_served_all_the_same(tmp_path: Path) -> None:
    async with RawClient(environment(tmp_path)) as raw:
        bad = {"workspace": {"configuration": {"x": []}}, "textDocument": 7}
        await raw.send(request(bad, initializationOptions={"enabled": False}, trace=3) | {"id": "first"})
        answer = await raw.answer("first")
        assert "inlineCompletionProvider" in answer["result"]["capabilities"]
        await raw.notify("initialized", {})
        await raw.open("file:///a.py", "x = ")
        inline = await raw.ask("textDocument/inlineCompletion", raw.inline("file:///a.py", 0, 4))
        assert inline["result"] == {"items": []}
        assert len(raw.answers("first")) == 1
