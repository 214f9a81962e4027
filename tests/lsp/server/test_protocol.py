"""What a server owes any client: one answer to every request, and none of its errors."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.editor import SERVER, environment
from support.fake_engine import FakeEngine, until
from support.processes import spawned
from support.raw import RawClient, frame

from codegen_lsp.lsp.server.transport import FrameError, decode, read_frame

URI = "file:///a.py"


@pytest.fixture
async def raw(tmp_path: Path) -> AsyncIterator[RawClient]:
    async with RawClient(environment(tmp_path)) as client:
        yield client


@pytest.mark.parametrize(
    "bad",
    [
        b"Content-Length: 9\r\n\r\nnot json!",
        b"Content-Length: 0\r\n\r\n",
        b"Content-Length: 3\r\n\r\n\xff\xfe\xfd",
        b"Content-Length: 200000\r\n\r\n" + b"[" * 200000,
        b"Content-Length: 999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"Content-Length: many\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
    ],
)
def test_a_bad_frame_costs_itself_alone(bad: bytes) -> None:
    stream = io.BytesIO(bad + frame({"good": True}))
    with pytest.raises(FrameError):
        read_message(stream)
    assert read_message(stream) == {"good": True}
    assert read_message(stream) is None


def read_message(stream: io.BytesIO) -> Any:
    body = read_frame(stream)
    return None if body is None else decode(body)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\n\r\n",
        b"content-length:2\r\n\r\n",
        b"Content-Length: 2\n\n",
        b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: 2\r\n\r\n",
        b"\r\n\r\nContent-Length: 2\r\n\r\n",
        b'{"rest": "of a broken body"}Content-Length: 2\r\n\r\n',
    ],
)
def test_headers_as_clients_write_them(head: bytes) -> None:
    assert read_frame(io.BytesIO(head + b"{}")) == b"{}"


def test_a_stream_that_ends_in_a_body_ends() -> None:
    assert read_frame(io.BytesIO(b"Content-Length: 10\r\n\r\n{}")) is None
    assert read_frame(io.BytesIO(b"Content-Le")) is None


async def test_every_request_is_answered_once(raw: RawClient) -> None:
    early = await raw.ask("textDocument/inlineCompletion", raw.inline(URI, 0, 0))
    assert early["error"]["code"] == -32002
    assert "result" in await raw.initialize(options={"enabled": False})
    again = await raw.ask("initialize", {"capabilities": {}, "processId": None, "rootUri": None})
    assert again["error"]["code"] == -32600
    bad: list[tuple[str, Any]] = [
        ("textDocument/inlineCompletion", None),
        ("textDocument/inlineCompletion", {}),
        ("textDocument/inlineCompletion", []),
        ("textDocument/inlineCompletion", "text"),
        ("textDocument/inlineCompletion", raw.inline(URI, -1, 0)),
        ("textDocument/inlineCompletion", raw.inline(URI, 0, 2**40)),
        ("textDocument/inlineCompletion", raw.inline(URI, 0, 0, context={"triggerKind": 9})),
        ("textDocument/inlineCompletion", raw.inline(URI, 0, 0, textDocument={"uri": 7})),
        ("textDocument/completion", {"textDocument": {"uri": URI}}),
        ("textDocument/completion", raw.inline(URI, 0, 0, position={"line": "x", "character": 0})),
        ("workspace/executeCommand", {"command": "no.such"}),
        ("workspace/executeCommand", {"command": "codegen.pause", "arguments": [{"paused": "yes"}]}),
        ("workspace/executeCommand", {"command": "codegen.writeBody", "arguments": [1, 2, 3]}),
        ("workspace/executeCommand", {"command": 3}),
        ("textDocument/codeAction", {"range": 0}),
        ("completionItem/resolve", {}),
    ]
    for method, params in bad:
        answer = await raw.ask(method, params)
        assert answer["error"]["code"] == -32602, (method, params, answer)
        assert "Traceback" not in answer["error"]["message"]
    unknown = await raw.ask("textDocument/hover", raw.inline(URI, 0, 0))
    assert unknown["error"]["code"] == -32601
    assert (await raw.ask("our/own", {"x": 1}))["error"]["code"] == -32601
    assert (await raw.ask("shutdown"))["result"] is None
    late = await raw.ask("textDocument/completion", raw.inline(URI, 0, 0))
    assert late["error"]["code"] == -32600
    await asyncio.sleep(0.2)
    for request_id in range(1, raw._next + 1):
        assert len(raw.answers(request_id)) == 1
    await raw.notify("exit")
    assert await asyncio.wait_for(raw.process.wait(), 10) == 0
    assert b"Traceback" not in raw.errors


async def test_what_is_no_message_is_refused(raw: RawClient) -> None:
    await raw.initialize(options={"enabled": False})
    for message in (
        7,
        [],
        None,
        {},
        {"jsonrpc": "1.0", "id": "v1", "method": "x"},
        {"jsonrpc": "2.0", "id": "m", "method": 3},
    ):
        await raw.send(message)
    await raw.send({"jsonrpc": "2.0", "id": {"an": "object"}, "method": "shutdown"})
    await raw.bytes(frame(b"{broken"))
    assert (await raw.ask("workspace/executeCommand", {"command": "codegen.status"}))["result"]
    refused = [m for m in raw.received if m.get("id") is None and "error" in m]
    assert {m["error"]["code"] for m in refused} == {-32600, -32700}
    assert (await raw.answer("v1"))["error"]["code"] == -32600
    assert (await raw.answer("m"))["error"]["code"] == -32600


async def test_answers_and_cancels_that_fit_nothing_do_no_harm(raw: RawClient, fake: FakeEngine) -> None:
    await raw.initialize(options={"server": fake.url, "suffixRanking": False, "warm": False})
    fake.rows, fake.step = ["a + b"], 0.1
    await raw.open(URI, "def add(a, b):\n    return ")
    await _ready(raw)
    request = raw.request("textDocument/inlineCompletion", raw.inline(URI, 1, 11))
    await raw.send(request, {"jsonrpc": "2.0", "id": request["id"], "result": "mine"})
    await raw.send({"jsonrpc": "2.0", "id": 999, "result": None}, {"jsonrpc": "2.0", "id": 998, "error": {}})
    for params in ({"id": 12345}, {}, None, {"id": [1]}):
        await raw.notify("$/cancelRequest", params)
    assert (await raw.answer(request["id"]))["result"]["items"]
    assert len(raw.answers(request["id"])) == 1
    await raw.notify("$/cancelRequest", {"id": request["id"]})
    assert (await raw.ask("shutdown"))["result"] is None


async def test_notifications_of_any_shape_do_no_harm(raw: RawClient, fake: FakeEngine) -> None:
    await raw.initialize(options={"server": fake.url, "warm": False})
    await _ready(raw)
    shapes: list[Any] = [
        None,
        {},
        [],
        "x",
        7,
        {"textDocument": None},
        {"item": 3},
        {"textDocument": {"uri": URI}},
    ]
    for method in (
        "textDocument/didOpen",
        "textDocument/didChange",
        "textDocument/didClose",
        "textDocument/didFocus",
        "textDocument/didShowCompletion",
        "textDocument/didPartiallyAcceptCompletion",
        "workspace/didChangeConfiguration",
        "notebookDocument/didChange",
        "window/workDoneProgress/cancel",
        "our/own",
    ):
        for params in shapes:
            await raw.notify(method, params)
    change = {
        "range": {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}},
        "text": "x",
    }
    identifier = {"uri": "file:///closed.py", "version": 2}
    await raw.notify("textDocument/didChange", {"textDocument": identifier, "contentChanges": [change]})
    await raw.open(URI, "def add(a, b):\n    return ")
    assert (await raw.ask("textDocument/inlineCompletion", raw.inline(URI, 1, 11)))["result"]["items"]
    assert not [m for m in raw.shown if "rror in server" in m]


async def test_other_fields_than_lsps_are_read(raw: RawClient, fake: FakeEngine) -> None:
    await raw.initialize(
        options={"server": fake.url, "multiline": "always", "warm": False, "suffixRanking": False}
    )
    await _ready(raw)
    fake.rows = ["if a:\n\t\treturn b\n\treturn a\n"]
    await raw.open(URI, "def f(a, b):\n")
    params = raw.inline(URI, 1, 0, formattingOptions={"tabSize": 8, "insertSpaces": False})
    params["textDocument"]["version"] = 1
    answer = await raw.ask("textDocument/inlineCompletion", params)
    assert "\t" in answer["result"]["items"][0]["insertText"], answer
    for formatting in (3, {"tabSize": "x", "insertSpaces": None}):
        answer = await raw.ask(
            "textDocument/inlineCompletion", raw.inline(URI, 1, 0, formattingOptions=formatting)
        )
        assert "result" in answer


async def test_a_stale_version_is_not_answered(raw: RawClient, fake: FakeEngine) -> None:
    await raw.initialize(options={"server": fake.url, "warm": False, "suffixRanking": False})
    await _ready(raw)
    await raw.open(URI, "def add(a, b):\n    return ")
    for method in ("textDocument/inlineCompletion", "textDocument/completion"):
        params = raw.inline(URI, 1, 11)
        params["textDocument"] = {"uri": URI, "version": 7}
        assert (await raw.ask(method, params))["result"]["items"] == []
    assert not fake.completions


async def test_a_client_that_vanishes_takes_the_server_along(tmp_path: Path) -> None:
    async with RawClient(environment(tmp_path)) as client:
        await client.initialize(options={"enabled": False})
        assert client.process.stdin is not None
        client.process.stdin.close()
        assert await asyncio.wait_for(client.process.wait(), 10) == 1
    assert b"Traceback" not in client.errors
    assert b"Fatal" not in client.errors


def _first_message(options: Any) -> bytes:
    params = {"processId": None, "rootUri": None, "capabilities": {}, "initializationOptions": options}
    return frame({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})


STRANGERS = [
    _first_message(None),
    _first_message({"connectionToken": "wrong"}),
    _first_message({"connectionToken": 7}),
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + _first_message({"connectionToken": "s3cret"}),
    b"Host: 127.0.0.1\r\n" + _first_message({"connectionToken": "s3cret"}),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    frame({"jsonrpc": "2.0", "id": 1, "method": "workspace/executeCommand", "params": {"command": "x"}}),
]
"""First bytes of clients that must get nothing: web pages, TLS, and users without the token."""


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "lsp.sock"
    async with spawned(
        *SERVER, "--socket", str(path), env=environment(tmp_path), stderr=asyncio.subprocess.PIPE
    ) as server:
        assert server.stderr is not None
        assert str(path).encode() in await server.stderr.readline()
        assert path.stat().st_mode & 0o077 == 0
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(_first_message({"enabled": False}))
        assert b"inlineCompletionProvider" in await reader.readuntil(b"serverInfo")
        writer.write(frame({"jsonrpc": "2.0", "id": 2, "method": "shutdown"}))
        writer.write(frame({"jsonrpc": "2.0", "method": "exit"}))
        assert await asyncio.wait_for(server.wait(), 20) == 0
        writer.close()
        assert not path.exists()


async def test_a_file_in_the_place_of_a_socket_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    async with spawned(
        *SERVER, "--socket", str(path), env=environment(tmp_path), stderr=asyncio.subprocess.PIPE
    ) as server:
        _, errors = await server.communicate()
        assert server.returncode == 2
        assert b"not a socket" in errors
        assert path.read_text() == "mine"


async def test_over_tcp(tmp_path: Path) -> None:
    async with spawned(
        *SERVER,
        "--tcp",
        "127.0.0.1:0",
        env=environment(tmp_path, CODEGEN_LSP_CONNECTION_TOKEN="s3cret"),
        stderr=asyncio.subprocess.PIPE,
    ) as server:
        assert server.stderr is not None
        port = int((await server.stderr.readline()).rsplit(b":", 1)[1])
        for stranger in STRANGERS:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(stranger)
            with contextlib.suppress(ConnectionError):
                assert b"inlineCompletionProvider" not in await asyncio.wait_for(reader.read(), 20)
            writer.close()
        for leaves in (False, True):  # A client that vanishes leaves room for the next one.
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            params = {
                "processId": None,
                "rootUri": None,
                "capabilities": {},
                "initializationOptions": {"enabled": False, "connectionToken": "s3cret"},
            }
            writer.write(frame({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}))
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(head.split(b"\r\n")[0].split()[1]))
            assert b"inlineCompletionProvider" in body
            if leaves:
                writer.write(frame({"jsonrpc": "2.0", "id": 2, "method": "shutdown"}))
                writer.write(frame({"jsonrpc": "2.0", "method": "exit"}))
            writer.close()
            await writer.wait_closed()
        assert await asyncio.wait_for(server.wait(), 20) == 0


async def test_tcp_is_for_this_machine_alone(tmp_path: Path) -> None:
    async with spawned(
        *SERVER, "--tcp", "0.0.0.0:0", env=environment(tmp_path), stderr=asyncio.subprocess.PIPE
    ) as server:
        _, errors = await server.communicate()
        assert server.returncode == 2
        assert b"127.0.0.1" in errors
        assert b"Traceback" not in errors


async def _ready(raw: RawClient) -> None:
    await until(lambda: raw.status["state"] == "ready")
