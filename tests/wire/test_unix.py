"""HTTP over a unix socket: connections that serve one request after the other, and every way in which one ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from support.fake_engine import FakeEngine, until

from codegen_lsp.lsp.suggest.generation import Patience, read
from codegen_lsp.wire.client import HttpEngineClient
from codegen_lsp.wire.requests import CompletionRequest
from codegen_lsp.wire.transport.unix import MAX_HEAD, MAX_IDLE, UnixTransport

Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


class CountingServer:
    """Answers each request with the same bytes, and counts connections."""

    def __init__(self, answer: bytes = WHOLE, *, closes: bool = False) -> None:
        self.answer, self.closes = answer, closes
        self.connections = 0
        self.requests: list[bytes] = []
        self.gone = 0
        """Number of connections that have ended."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = next(
                    (int(p[15:]) for p in head.lower().split(b"\r\n") if p.startswith(b"content-length")), 0
                )
                self.requests.append(head + await reader.readexactly(size))
                writer.write(self.answer)
                if self.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        self.gone += 1
        writer.close()


@asynccontextmanager
async def client_of(serve: Serving, socket: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that is started for it."""
    server = await asyncio.start_unix_server(serve, socket)
    try:
        async with httpx.AsyncClient(
            transport=UnixTransport(socket), base_url="http://engine", timeout=2
        ) as client:
            yield client
    finally:
        server.close()


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED], ids=["whole", "chunked"])
async def test_a_connection_serves_one_request_after_the_other(tmp_path: Path, answer: bytes) -> None:
    server = CountingServer(answer)
    async with client_of(server, tmp_path / "s") as client:
        for number in range(3):
            response = await client.post("/v1/completions", json={"n": number})
            assert (response.status_code, response.text) == (200, "ok")
    assert server.connections == 1
    assert [request.rpartition(b"\r\n\r\n")[2] for request in server.requests] == [
        b'{"n":0}',
        b'{"n":1}',
        b'{"n":2}',
    ]
    assert server.requests[0].startswith(b"POST /v1/completions HTTP/1.1\r\n")


async def test_requests_at_the_same_time_have_connections_of_their_own(tmp_path: Path) -> None:
    server = CountingServer()
    async with client_of(server, tmp_path / "s") as client:
        count = MAX_IDLE + 3
        await asyncio.gather(*(client.get("/health") for _ in range(count)))
        assert server.connections == count
        await until(lambda: server.gone == count - MAX_IDLE)
        await client.get("/health")
        assert server.connections == count
    await until(lambda: server.gone == count)


async def test_leaving_an_answer_closes_its_connection(tmp_path: Path) -> None:
    server = CountingServer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
    async with client_of(server, tmp_path / "s") as client:
        async with client.stream("GET", "/") as response:
            assert await anext(response.aiter_raw()) == b"ok"
        await until(lambda: server.gone == 1)


async def test_closing_the_client_ends_what_is_being_read(tmp_path: Path) -> None:
    server = CountingServer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
    async with client_of(server, tmp_path / "s") as client:
        async with client.stream("GET", "/") as response:
            parts = response.aiter_raw()
            assert await anext(parts) == b"ok"
            await client.aclose()
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(parts)
        await until(lambda: server.gone == 1)


async def test_a_closed_client_keeps_no_connection(tmp_path: Path) -> None:
    server = CountingServer()
    async with client_of(server, tmp_path / "s") as client:
        async with client.stream("GET", "/") as response:
            assert [part async for part in response.aiter_raw()] == [b"ok"]
            await client.aclose()
        await until(lambda: server.gone == 1)


async def test_a_connection_that_the_server_has_closed_is_replaced(tmp_path: Path) -> None:
    server = CountingServer(closes=True)
    async with client_of(server, tmp_path / "s") as client:
        for _ in range(3):
            assert (await client.get("/")).text == "ok"
            await asyncio.sleep(0.02)
    assert server.connections == 3


async def test_what_was_not_asked_for_is_answer_to_no_request(tmp_path: Path) -> None:
    server = CountingServer(WHOLE + b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad")
    async with client_of(server, tmp_path / "s") as client:
        for _ in range(3):
            assert (await client.get("/")).text == "ok"
            await asyncio.sleep(0.02)
    assert server.connections == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", httpx.RemoteProtocolError),
        (b"what?\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * (2 * MAX_HEAD), httpx.RemoteProtocolError),
    ],
    ids=["nothing", "half", "no HTTP", "endless headers"],
)
async def test_broken_answers_are_errors(tmp_path: Path, answer: bytes, error: type[Exception]) -> None:
    server = CountingServer(answer, closes=True)
    async with client_of(server, tmp_path / "s") as client:
        with pytest.raises(error):
            await client.get("/")
    await until(lambda: server.gone == 1)


async def test_an_answer_that_does_not_come_is_an_error(tmp_path: Path) -> None:
    server = CountingServer(b"")
    async with client_of(server, tmp_path / "s") as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/", timeout=0.05)
        await until(lambda: server.gone == 1)


async def test_a_request_that_is_not_read_is_an_error(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with client_of(deaf, tmp_path / "s") as client:
        with pytest.raises(httpx.WriteTimeout):
            await client.post("/", content=b"x" * 8_000_000, timeout=0.05)
        ended.set()


async def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    async with httpx.AsyncClient(transport=UnixTransport(tmp_path / "s"), base_url="http://engine") as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/")


async def test_a_request_that_http_cannot_carry_is_an_error(tmp_path: Path) -> None:
    server = CountingServer()
    async with client_of(server, tmp_path / "s") as client:
        with pytest.raises(httpx.LocalProtocolError):
            await client.get("/", headers={"x": "a\nb"})
        assert (await client.get("/")).text == "ok"


async def test_suggestions_that_end_leave_their_connection_to_the_next_ones(tmp_path: Path) -> None:
    request = CompletionRequest(prompts=("def f():",), max_tokens=8, n=2, stream=True)
    async with FakeEngine(tmp_path / "s") as fake:
        fake.rows = ["return 1", "pass"]
        engine = HttpEngineClient(socket=tmp_path / "s")
        for _ in range(3):
            generated = await read(engine, request, Patience(lambda _: False))
            assert [candidate.text for candidate in generated.candidates] == ["return 1", "pass"]
            assert generated.usage.prompt_tokens == fake.prompt_tokens
        await engine.aclose()
    assert (fake.connections, fake.cancelled) == (1, 0)
