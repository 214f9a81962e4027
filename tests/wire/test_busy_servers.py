"""Servers on the network that are busy, away, slow or cut off, and what the client does about it."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.fake_engine import FakeEngine, until
from support.scripted_server import ScriptedServer, event, reply, stream

from codegen_lsp.wire.answers import Choice, Completion, Logprobs, join_chunks
from codegen_lsp.wire.client import HttpEngineClient
from codegen_lsp.wire.errors import (
    ConfigError,
    ConnectionLostError,
    InvalidAnswerError,
    NotReadyError,
    OverloadedError,
    TimedOutError,
    UnavailableError,
    WireError,
)
from codegen_lsp.wire.requests import CompletionRequest
from codegen_lsp.wire.transport import retries
from codegen_lsp.wire.transport.healing import Healer, ragged_ends
from codegen_lsp.wire.transport.http import server_addresses
from codegen_lsp.wire.transport.session_id import session_id

REQUEST = CompletionRequest(("x = ",), max_tokens=8, stream=True, session="0123")
GOOD = stream(event("1", finish_reason="stop"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_SECONDS", 0.01)


async def text(client: HttpEngineClient, request: CompletionRequest = REQUEST) -> str:
    try:
        return join_chunks([chunk async for chunk in client.stream(request)]).choices[0].text
    finally:
        await client.aclose()


def refused(status: int, **headers: str) -> bytes:
    return reply(status, {"error": {"message": "ann may send 60 requests a minute"}}, **headers)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("headers", [{}, {"Retry_After": "0"}, {"Retry_After": "nonsense"}], ids=str)
async def test_a_busy_server_is_asked_again(status: int, headers: dict[str, str]) -> None:
    answers: list[Any] = [refused(status, **headers), refused(status, **headers), GOOD]
    async with ScriptedServer(lambda *_: answers.pop(0)).running() as server:
        assert await text(HttpEngineClient(url=server.url)) == "1"
        assert len(server.requests) == 3
        assert len({json.dumps(body) for _, body in server.requests}) == 1


@pytest.mark.parametrize(("status", "kind"), [(429, OverloadedError), (503, NotReadyError)])
async def test_a_server_that_stays_busy_gets_few_requests_and_its_reason_is_told(
    status: int, kind: type[WireError]
) -> None:
    async with ScriptedServer(lambda *_: refused(status)).running() as server:
        with pytest.raises(kind, match="60 requests a minute"):
            await text(HttpEngineClient(url=server.url))
        assert len(server.requests) == 1 + retries.ATTEMPTS


async def test_who_asks_for_much_patience_is_not_asked_again() -> None:
    async with ScriptedServer(lambda *_: refused(429, Retry_After="60")).running() as server:
        with pytest.raises(OverloadedError) as caught:
            await text(HttpEngineClient(url=server.url))
        assert caught.value.retry_after == 60
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"), [("3", 3), ("-1", 0), ("", None), ("inf", None), ("soon", None)]
)
def test_how_long_a_server_asks_to_wait(header: str, seconds: float | None) -> None:
    assert retries.retry_after(header) == seconds


def test_a_server_may_name_a_time() -> None:
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert 90 < (retries.retry_after(later) or 0) <= 100


async def test_the_next_address_is_used_from_when_one_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        away = f"http://127.0.0.1:{probe.getsockname()[1]}"
    async with ScriptedServer(lambda *_: GOOD).running() as server:
        client = HttpEngineClient(url=f"{away}, {server.url}")
        assert [chunk async for chunk in client.stream(REQUEST)]
        assert client.address == server.url
        assert await text(client) == "1"
        assert len(server.requests) == 2
    with pytest.raises(UnavailableError, match="no engine answers"):
        await text(HttpEngineClient(url=f"{away} {away}/other"))


async def test_the_next_address_is_used_while_one_is_not_ready() -> None:
    async with (
        ScriptedServer(lambda *_: refused(503)).running() as first,
        ScriptedServer(lambda *_: GOOD).running() as second,
    ):
        assert await text(HttpEngineClient(url=f"{first.url},{second.url}")) == "1"
        assert (len(first.requests), len(second.requests)) == (1, 1)


def test_addresses_are_a_list() -> None:
    assert server_addresses("HTTP://a:1/v1, http://b/ http://a:1") == ("http://a:1", "http://b")
    for wrong in ("", " ", "http://a, ftp://b", ",".join(f"http://a{n}" for n in range(17))):
        with pytest.raises(ConfigError):
            server_addresses(wrong)


async def test_connections_are_used_again() -> None:
    async with FakeEngine() as fake:
        client = HttpEngineClient(url=fake.url)
        for _ in range(5):
            await client.complete(CompletionRequest(("x",), max_tokens=1))
        assert fake.connections == 1
        await client.aclose()


async def test_a_document_is_named_by_a_hash_that_tells_nothing() -> None:
    uri = "file:///home/ann/secret-project/main.py"
    name = session_id(uri)
    assert name == session_id(uri) != session_id(uri + "x")
    assert "secret" not in name
    assert len(name) == 32
    async with ScriptedServer(lambda *_: GOOD).running() as server:
        await text(HttpEngineClient(url=server.url))
        assert "x-session-id: 0123\r\n" in server.headers[0]
        assert "session" not in server.requests[0][1]


async def test_a_server_that_never_answers() -> None:
    async with FakeEngine() as fake:
        fake.silent = True
        with pytest.raises(TimedOutError):
            await text(HttpEngineClient(url=fake.url, timeout=0.3))


async def test_a_server_that_answers_slowly_is_read_to_its_end() -> None:
    async with FakeEngine() as fake:
        fake.rows, fake.step = ["slowly but surely"], 0.1
        assert await text(HttpEngineClient(url=fake.url, timeout=5)) == "slowly but surely"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (stream(event("half a li"), ends=False), ConnectionLostError),
        (reply(200, "<html>please log in</html>", Content_Type="text/html"), InvalidAnswerError),
        (reply(200, '{"choices": [{"text": "ha'), InvalidAnswerError),
        (stream(b'data: {"choices": [{"te\n\n'), InvalidAnswerError),
        (reply(502, "<html>bad gateway</html>"), WireError),
    ],
    ids=["cut by a proxy", "html", "half a JSON", "half a JSON in a stream", "bad gateway"],
)
async def test_a_broken_answer_is_one_sentence(
    answer: bytes | Sequence[bytes], kind: type[WireError]
) -> None:
    async with ScriptedServer(lambda *_: answer).running() as server:
        with pytest.raises(kind) as caught:
            await text(HttpEngineClient(url=server.url))
    assert str(caught.value)
    assert "<html>" not in str(caught.value)


async def test_leaving_a_stream_stops_the_server_s_work() -> None:
    async with FakeEngine() as fake:
        fake.rows, fake.step = ["x" * 4000], 0.01
        client = HttpEngineClient(url=fake.url)
        chunks = client.stream(REQUEST)
        await anext(chunks)
        await chunks.aclose()
        await until(lambda: fake.cancelled == 1)
        await client.aclose()


# Token healing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "ragged"),
    [
        ("x = pri", (" pri",)),
        ("return ", (" ",)),
        ("def f():\n   ", ("   ",)),
        ("def f():\n    retur", (" retur", "retur")),
        ("def f():\n\tretur", ("retur",)),
        ("x = 12", ()),
        ("f(", ()),
        ("abc", ()),
        ("x.app", ("app",)),
        ("\n", ()),
        ("x = " + "a" * 50, ()),
    ],
)
def test_the_ragged_end_of_a_prompt(prompt: str, ragged: tuple[str, ...]) -> None:
    assert ragged_ends(CompletionRequest((prompt,))) == ragged


def writing(*rows: str) -> Callable[[str, dict[str, Any]], Any]:
    """Return a server whose rows go on from any prompt that `x = print(1)` begins with, character by character."""

    def respond(_: str, body: dict[str, Any]) -> Any:
        events = []
        for index in range(body.get("n", 1)):
            rest = rows[index].removeprefix(body["prompt"])
            events += [event(letter, index=index) for letter in rest]
            events.append(event("", index=index, finish_reason="stop"))
        return stream(*events)

    return respond


async def healed(server: ScriptedServer, prompt: str, n: int = 1) -> Completion:
    request = CompletionRequest((prompt,), max_tokens=40, n=n, stream=True, heal=True)
    client = HttpEngineClient(url=server.url)
    try:
        return join_chunks([chunk async for chunk in client.stream(request)])
    finally:
        await client.aclose()


async def test_what_was_cut_off_is_written_again_and_not_returned() -> None:
    async with ScriptedServer(writing("x = print(1)", "x = other")).running() as server:
        answer = await healed(server, "x = pri", n=2)
        assert [choice.text for choice in answer.choices] == ["nt(1)", ""]
        assert [body["prompt"] for _, body in server.requests] == ["x ="]


async def test_rows_that_go_on_differently_are_dropped_wherever_they_are() -> None:
    async with ScriptedServer(writing("x = other", "x = print(1)", "x = else")).running() as server:
        answer = await healed(server, "x = pri", n=3)
        assert [choice.text for choice in answer.choices] == ["", "nt(1)", ""]
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("prompt", "completions", "text"),
    [
        ("def f(x):\n    retur", {"def f(x):\n   ": "if x", "def f(x):\n    ": "return x"}, "n x"),
        ("x = pri", {"x =": " other", "x = pri": "nt(1)"}, "nt(1)"),
    ],
    ids=["a space that belongs to the indentation", "a model that would go on differently"],
)
async def test_less_is_cut_off_if_no_completion_fits(
    prompt: str, completions: dict[str, str], text: str
) -> None:
    def respond(_: str, body: dict[str, Any]) -> Any:
        return stream(event(completions[body["prompt"]], finish_reason="stop"))

    async with ScriptedServer(respond).running() as server:
        assert (await healed(server, prompt)).choices[0].text == text
        assert [body["prompt"] for _, body in server.requests] == list(completions)


def test_a_token_that_is_cut_keeps_its_end() -> None:
    healer = Healer(" pri")
    logprobs = Logprobs((" ", "print", "("), (-1.0, -2.0, -3.0), (), (0, 1, 6))
    (choice,) = healer.take(Completion("", "", 0, (Choice(0, " print(", None, logprobs),))).choices
    assert choice.text == "nt("
    assert choice.logprobs == Logprobs(("nt", "("), (-2.0, -3.0), (), (1, 6))


async def test_our_own_engine_heals_by_itself() -> None:
    async with FakeEngine() as fake:
        client = HttpEngineClient(url=fake.url)
        client.extensions = True
        async with asyncio.timeout(10):
            request = CompletionRequest(("x = pri",), stream=True, heal=True)
            assert [chunk async for chunk in client.stream(request)]
        assert fake.requests[0]["prompt"] == "x = pri"
        await client.aclose()
