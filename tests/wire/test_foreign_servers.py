"""Completions servers of other projects, and hostile ones: what the client makes of their answers."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_engine import FakeEngine
from support.processes import spawned
from support.scripted_server import Respond, ScriptedServer, event, reply, stream

from codegen_lsp.wire.answers import Completion, join_chunks
from codegen_lsp.wire.client import HttpEngineClient
from codegen_lsp.wire.errors import (
    ConfigError,
    ConnectionLostError,
    InternalError,
    InvalidAnswerError,
    RequestError,
    UnavailableError,
    WireError,
)
from codegen_lsp.wire.requests import CompletionRequest
from codegen_lsp.wire.transport.http import socket_client

REQUEST = CompletionRequest(
    prompts=("x",), max_tokens=8, n=3, logprobs=1, stream=True, include_usage=True, temperature=0.4
)
DONE = b"data: [DONE]\n\n"
WHOLE = {"choices": [{"index": 0, "text": "y", "finish_reason": "stop"}]}


async def read(url: str, request: CompletionRequest = REQUEST) -> Completion:
    client = HttpEngineClient(url=url)
    try:
        return join_chunks([chunk async for chunk in client.stream(request)])
    finally:
        await client.aclose()


async def answered(respond: Respond, request: CompletionRequest = REQUEST) -> Completion:
    async with ScriptedServer(respond).running() as server:
        return await read(server.url, request)


def text_of(completion: Completion) -> str:
    return completion.choices[0].text


# Server-sent events ------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
async def test_only_cr_and_lf_end_a_line_of_a_stream(character: str) -> None:
    text = f"a{character}b"
    parts = [event(text).replace(json.dumps(character).encode()[1:-1], character.encode()), DONE]
    assert text_of(await answered(lambda *_: stream(*parts))) == text


async def test_our_own_engine_s_text_may_hold_any_character(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path / "s") as fake:
        fake.rows = ["a\u2028b\u2029c\x85d"]
        client = HttpEngineClient(socket=tmp_path / "s")
        chunks = [chunk async for chunk in client.stream(CompletionRequest(("x",), stream=True))]
        assert text_of(join_chunks(chunks)) == fake.rows[0]
        await client.aclose()


@pytest.mark.parametrize("ending", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_lines_may_end_in_three_ways_and_arrive_in_any_parts(ending: bytes, size: int) -> None:
    data = (
        b": keep-alive"
        + ending
        + b"".join(event(t).rstrip(b"\n") + ending for t in ("a", "b"))
        + b"data: [DONE]"
    )
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    assert text_of(await answered(lambda *_: stream(*parts))) == "ab"


@pytest.mark.parametrize("content_type", ["Text/Event-Stream", "TEXT/EVENT-STREAM; Charset=UTF-8"])
async def test_the_content_type_may_be_in_any_case(content_type: str) -> None:
    assert text_of(await answered(lambda *_: stream(event("a"), DONE, content_type=content_type))) == "a"


async def test_a_whole_answer_to_a_streamed_request_counts() -> None:
    assert text_of(await answered(lambda *_: reply(body=WHOLE))) == "y"


async def test_a_stream_without_its_end_mark_counts() -> None:
    assert text_of(await answered(lambda *_: stream(event("a"), event("b", finish_reason="stop")))) == "ab"
    assert text_of(await answered(lambda *_: stream(event("a"), event("b")))) == "ab"


def document(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@pytest.mark.parametrize(
    "parts",
    [
        [b"\xef\xbb\xbf" + event("a"), DONE],
        [b"event: completion\nid: 7\nretry: 100\n" + event("a"), b"event: done\n" + DONE],
        [event("a").replace(b"data: ", b"data:"), b"data:[DONE]\n\n"],
        [b'data: {"choices": [{"index": 0,\ndata: "text": "a"}]}\n\n', DONE],
        [event("a").rstrip(b"\n") + b"\n", DONE],
        [b"data:\n\n: ping\n\n", event("a"), b":\n\n", DONE],
        [event("a"), document({"usage": {"prompt_tokens": 3.0, "completion_tokens": 1}}), DONE],
        [document({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}), event("a"), DONE],
        [event("a"), DONE, event("more")],
    ],
    ids=["mark", "names", "no space", "two lines", "no gap", "nothing", "usage alone", "no choices", "after"],
)
async def test_dialects_of_server_sent_events(parts: list[bytes]) -> None:
    assert text_of(await answered(lambda *_: stream(*parts))) == "a"


@pytest.mark.parametrize("text", ["{", "}", "{}}", '"{"', "\n}"])
@pytest.mark.parametrize("gap", [b"\n\n", b"\n"])
async def test_braces_of_a_text_end_no_event(text: str, gap: bytes) -> None:
    parts = [event(text).rstrip(b"\n") + gap, event("b").rstrip(b"\n") + gap, DONE]
    assert text_of(await answered(lambda *_: stream(*parts))) == text + "b"


async def test_log_probabilities_in_the_shape_of_chats() -> None:
    entries = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]
    choice = {"index": 0, "text": "a", "logprobs": {"content": entries}}
    (answer,) = (await answered(lambda *_: stream(document({"choices": [choice]}), DONE))).choices
    assert answer.logprobs is not None
    assert (answer.logprobs.tokens, answer.logprobs.token_logprobs) == (("a",), (-0.5,))


@pytest.mark.parametrize(
    "said",
    [
        b'event: error\ndata: {"message": "kv cache is full"}\n\n',
        b'event: error\ndata: {"error": {"message": "kv cache is full"}}\n\n',
        b'error: {"code": 500, "message": "kv cache is full"}\n\n',
        b'data: {"object": "error", "message": "kv cache is full", "code": 40303}\n\n',
        b'data: {"error": "kv cache is full", "error_type": "overloaded"}\n\n',
    ],
)
async def test_errors_in_the_dialects_of_streams(said: bytes) -> None:
    with pytest.raises(InternalError, match="kv cache is full"):
        await answered(lambda *_: stream(event("a"), said, DONE))


async def test_a_stream_that_is_cut_is_lost() -> None:
    with pytest.raises(ConnectionLostError):
        await answered(lambda *_: stream(event("a"), ends=False))
    with pytest.raises(ConnectionLostError):
        await answered(lambda *_: stream())
    cut = b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + event("a")
    with pytest.raises(ConnectionLostError):
        await answered(lambda *_: cut)


async def test_an_error_in_the_middle_of_a_stream_is_raised() -> None:
    broken = b'data: {"error": {"message": "CUDA out of memory"}}\n\n'
    with pytest.raises(InternalError, match="CUDA out of memory"):
        await answered(lambda *_: stream(event("a"), broken))


async def test_halves_of_an_emoji_are_joined_or_replaced() -> None:
    halves = [
        b'data: {"choices": [{"index": 0, "text": "a\\ud83d"}]}\n\n',
        b'data: {"choices": [{"index": 0, "text": "\\udc0db", "logprobs": {"tokens": ["\\ud83d"]}}]}\n\n',
        b'data: {"choices": [{"index": 0, "text": "\\udc00c\\ud83d", "finish_reason": "stop"}]}\n\n',
    ]
    completion = await answered(lambda *_: stream(*halves, DONE))
    assert text_of(completion) == "a🐍b\ufffdc\ufffd"
    assert completion.choices[0].logprobs is not None
    assert completion.choices[0].logprobs.tokens == ("\ufffd",)
    async with ScriptedServer(lambda *_: reply(body={"choices": [{"text": "\ud83d!"}]})).running() as server:
        client = HttpEngineClient(url=server.url)
        assert text_of(await client.complete(REQUEST)) == "\ufffd!"
        await client.aclose()


# Bounds ------------------------------------------------------------------------------------------------


def flood(head: bytes, part: bytes, count: int) -> Iterator[bytes]:
    yield head
    for _ in range(count):
        yield part


STREAM_HEAD = b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
JSON_HEAD = STREAM_HEAD.replace(b"text/event-stream", b"application/json")
ERROR_HEAD = JSON_HEAD.replace(b"200", b"500")
MEGABYTE = b"x" * 2**20


@pytest.mark.parametrize(
    ("head", "part", "problem"),
    [
        (STREAM_HEAD + b'data: {"choices": [{"text": "', MEGABYTE, "longer than 8,388,608 bytes"),
        (STREAM_HEAD, event("x" * 2**20), "more than it was asked for|longer than 67,108,864 bytes"),
        (STREAM_HEAD, event("x") * 1000, "more than it was asked for"),
        (STREAM_HEAD, b": keep-alive\n\n" * 70_000, "more than 1,000,000 lines"),
        (JSON_HEAD + b'{"choices": [{"text": "', MEGABYTE, "longer than 67,108,864 bytes"),
        (ERROR_HEAD, MEGABYTE, "xxx"),
    ],
    ids=["line", "events", "tokens", "comments", "body", "error"],
)
async def test_four_hundred_megabytes_do_not_grow_the_client(head: bytes, part: bytes, problem: str) -> None:
    server = ScriptedServer(lambda *_: flood(head, part, 400))  # type: ignore[arg-type,return-value]
    tracemalloc.start()
    try:
        async with server.running():
            with pytest.raises(WireError, match=problem) as caught:
                await read(server.url)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(caught.value.message) <= 2000
    assert peak < 250 * 2**20
    assert server.sent < 100 * 2**20, "the connection is closed early"


@pytest.mark.parametrize("text", ["x" * 10_000, "x" * 2**20], ids=len)
async def test_more_text_than_was_asked_for_is_an_error(text: str) -> None:
    request = CompletionRequest(("x",), max_tokens=8, stream=True)
    with pytest.raises(InvalidAnswerError, match="more than it was asked for"):
        await answered(lambda *_: stream(event(text), DONE), request)
    with pytest.raises(InvalidAnswerError, match="more than it was asked for"):
        await answered(lambda *_: reply(body={"choices": [{"text": text}]}), request)
    echo = CompletionRequest((text,), max_tokens=0, echo=True)
    assert text_of(await answered(lambda *_: reply(body={"choices": [{"text": text}]}), echo)) == text


async def test_pages_are_bounded_too() -> None:
    server = ScriptedServer(lambda *_: flood(JSON_HEAD, MEGABYTE, 400))  # type: ignore[arg-type,return-value]
    async with server.running():
        client = HttpEngineClient(url=server.url)
        for ask in (client.health, client.models):
            with pytest.raises(InvalidAnswerError, match="longer than 1,048,576 bytes"):
                await ask()
        await client.aclose()
    assert server.sent < 20 * 2**20


async def test_a_compressed_answer_is_refused_by_name() -> None:
    async with ScriptedServer(
        lambda *_: reply(body=gzip.compress(b"{}"), Content_Encoding="gzip")
    ).running() as server:
        with pytest.raises(InvalidAnswerError, match=r"is compressed \(gzip\)"):
            await read(server.url)
    assert "accept-encoding: identity" in server.headers[0].lower()


HOSTILE: list[Any] = [
    {"choices": [None]}, {"choices": 7}, {"choices": [[]]}, {"choices": [{"index": "0"}]}, {"choices": [{"text": {}}]},
    {"choices": [{"logprobs": [1]}]}, {"usage": {}}, [], None, "text", 7, {"choices": [{"index": 10**300}]},
    {"choices": [], "usage": {"prompt_tokens": -1}}, {"choices": [{"logprobs": {"token_logprobs": ["x"]}}]},
]  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: json.dumps(body)[:40])
async def test_a_wrong_answer_is_one_error_streamed_and_whole(body: Any) -> None:
    data = json.dumps(body).encode()
    with pytest.raises(InvalidAnswerError, match="completions server"):
        await answered(lambda *_: stream(b"data: " + data + b"\n\n", DONE))
    with pytest.raises(InvalidAnswerError, match="completions server"):
        await answered(lambda *_: reply(body=data))


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"choices": [{"text": NaN}]}', b"\xff\xfe", b"{"])
async def test_what_is_not_json_is_one_error(data: bytes) -> None:
    with pytest.raises(InvalidAnswerError, match="not JSON"):
        await answered(lambda *_: stream(b"data: " + data + b"\n\n", DONE))
    with pytest.raises(InvalidAnswerError, match="not JSON"):
        await answered(lambda *_: reply(body=data))
    with pytest.raises(WireError):
        await answered(lambda *_: reply(400, data))


# Dialects ----------------------------------------------------------------------------------------------


def picky(refused: dict[str, Any], named: bool = True) -> Respond:
    """Return a server that refuses fields, with their names or without."""

    def respond(path: str, body: dict[str, Any]) -> bytes:
        wrong = next((name for name in refused if name in body), None)
        if wrong is None:
            return reply(body=WHOLE)
        return reply(400, refused[wrong] if named else "Bad Request")

    return respond


REFUSALS = {
    "n": {"error": {"message": "n > 1 is not supported", "param": None}},
    "logprobs": {"detail": [{"loc": ["body", "logprobs"], "msg": "Extra inputs are not permitted"}]},
    "stream_options": {"error": {"message": "Unrecognized request argument supplied: stream_options"}},
}


@pytest.mark.parametrize("names", [["n"], ["logprobs"], ["stream_options"], list(REFUSALS)], ids="-".join)
@pytest.mark.parametrize("named", [True, False])
async def test_a_refused_field_is_left_out_from_then_on(names: list[str], named: bool) -> None:
    server = ScriptedServer(picky({name: REFUSALS[name] for name in names}, named))
    async with server.running():
        client = HttpEngineClient(url=server.url)
        for _ in range(2):
            assert text_of(join_chunks([chunk async for chunk in client.stream(REQUEST)])) == "y"
        assert len(server.requests) == 2 + (len(names) if named else 1), "it falls back once"
        last = server.requests[-1][1]
        assert not set(names) & set(last)
        if named:
            assert set(REFUSALS) - set(names) <= set(last), "the others are still sent"
        assert (last["prompt"], last["max_tokens"]) == ("x", 8)
        await client.aclose()


@pytest.mark.parametrize(
    "refusal",
    [
        {"error": {"message": "This model's maximum context length is 2048 tokens"}},
        {"error": {"message": "wrong", "param": "prompt"}},
    ],
)
async def test_other_refusals_are_not_repeated(refusal: object) -> None:
    server = ScriptedServer(lambda *_: reply(400, refusal))
    async with server.running():
        with pytest.raises(RequestError):
            await read(server.url)
    assert len(server.requests) == 1


async def test_a_refusal_that_remains_is_raised_and_teaches_nothing() -> None:
    server = ScriptedServer(lambda *_: reply(422, {"detail": "no"}))
    async with server.running():
        client = HttpEngineClient(url=server.url)
        with pytest.raises(RequestError, match="no"):
            await client.complete(REQUEST)
        server.respond = lambda *_: reply(body=WHOLE)
        await client.complete(REQUEST)
        assert server.requests[-1][1]["n"] == 3
        await client.aclose()


async def test_the_local_engine_s_refusals_are_final(tmp_path: Path) -> None:
    server = ScriptedServer(picky(REFUSALS))
    async with server.running(tmp_path / "s"):
        client = HttpEngineClient(socket=tmp_path / "s")
        with pytest.raises(RequestError, match="n > 1"):
            await client.complete(REQUEST)
        await client.aclose()
    assert len(server.requests) == 1


async def test_the_model_of_the_client_is_requested_unless_a_request_names_one() -> None:
    server = ScriptedServer(lambda *_: reply(body=WHOLE))
    async with server.running():
        client = HttpEngineClient(url=server.url)
        await client.complete(REQUEST)
        client.model = "listed"
        await client.complete(REQUEST)
        await client.complete(CompletionRequest(("x",), model="named"))
        await client.aclose()
    assert [body.get("model") for _, body in server.requests] == [None, "listed", "named"]


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_without_a_list_of_models_works(status: int) -> None:
    server = ScriptedServer(lambda path, _: reply(status) if path == "/v1/models" else reply(body=WHOLE))
    async with server.running():
        client = HttpEngineClient(url=server.url)
        assert await client.models() == ()
        server.respond = lambda *_: reply(404)
        with pytest.raises(RequestError, match="404"):
            await client.models()
        await client.aclose()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_named_and_not_followed(status: int) -> None:
    async with FakeEngine() as other:
        target = other.url.replace("http://", "http://me:s3cret@") + "/v1/completions"
        server = ScriptedServer(lambda *_: reply(status, Location=target))
        async with server.running():
            client = HttpEngineClient(url=server.url, token="s3cret-token")
            for ask in (client.health, client.models, lambda: client.complete(REQUEST)):
                with pytest.raises(
                    UnavailableError, match=f"redirects to {other.url}/v1/completions"
                ) as caught:
                    await ask()
                assert "s3cret" not in caught.value.message
            await client.aclose()
        assert other.requests == []
        assert other.headers == []


# Addresses, tokens and the environment -----------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["HTTP://{}", "http://{}/v1", "Http://{}/", "http://{}/v1/"])
async def test_an_address_may_be_spelled_in_several_ways(spelling: str) -> None:
    async with FakeEngine() as fake:
        client = HttpEngineClient(url=spelling.format(fake.url.removeprefix("http://")))
        assert await client.models()
        await client.aclose()


@pytest.mark.parametrize(
    "address", ["", "localhost:80", "http://[::1", "http://h:99999", "ftp://h", "http://ü"]
)
def test_a_wrong_address_is_told(address: str) -> None:
    with pytest.raises(ConfigError, match="expected an address such as"):
        HttpEngineClient(url=address)


@pytest.mark.parametrize("token", ["ü", "two words", "line\nbreak", "\x00"])
def test_a_token_that_http_can_t_carry_is_told(token: str) -> None:
    with pytest.raises(ConfigError, match="visible ASCII") as caught:
        HttpEngineClient(url="http://127.0.0.1", token=token)
    assert token not in str(caught.value)


def test_a_password_does_not_reach_messages() -> None:
    assert HttpEngineClient(url="http://me:s3cret@127.0.0.1:9").address == "http://127.0.0.1:9"


PROGRAM = """
import asyncio, sys
from pathlib import Path
from codegen_lsp.wire.client import HttpEngineClient
from codegen_lsp.wire.errors import CodegenError
async def main(kind, where):
    try:
        client = HttpEngineClient(**{kind: Path(where) if kind == "socket" else where})
        print((await client.health()).state)
    except CodegenError as error:
        print(type(error).__name__, error)
asyncio.run(main(*sys.argv[1:]))
"""
STALE = {
    "SSL_CERT_FILE": "/no/such/file",
    "SSL_CERT_DIR": "/no/such/folder",
    "SSLKEYLOGFILE": "/no/such/folder/keys",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "HTTP_PROXY": "gopher://[",
    "NO_PROXY": "http://[::1",
    "all_proxy": "socks4://[",
    "https_proxy": "nonsense",
    "no_proxy": "[::1,*,,;",
    "REQUESTS_CA_BUNDLE": "/no/such/file",
    "CURL_CA_BUNDLE": "/no/such/file",
    "OPENSSL_CONF": "/no/such/file",
    "NETRC": "/no/such/file",
}


async def run(kind: str, where: str, environment: dict[str, str]) -> str:
    async with spawned(
        sys.executable,
        "-c",
        PROGRAM,
        kind,
        where,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert errors == b""
    return output.decode().strip()


async def test_this_machine_needs_nothing_of_the_environment(
    tmp_path: Path, clean_environment: dict[str, str]
) -> None:
    async with FakeEngine(tmp_path / "s"), FakeEngine() as fake:
        assert await run("socket", str(tmp_path / "s"), clean_environment | STALE) == "ready"
        assert await run("url", fake.url, clean_environment | STALE) == "ready"


async def test_a_synchronous_client_needs_nothing_of_it_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in STALE.items():
        monkeypatch.setenv(name, value)

    def status() -> int:
        with socket_client(tmp_path / "s", 5) as client:
            return client.get("/health").status_code

    async with FakeEngine(tmp_path / "s"):
        assert await asyncio.to_thread(status) == 200


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSLKEYLOGFILE", "ALL_PROXY", "HTTP_PROXY", "NO_PROXY"])
async def test_an_environment_that_can_t_be_used_is_one_sentence(
    name: str, clean_environment: dict[str, str]
) -> None:
    proxy = {"ALL_PROXY": "http://127.0.0.1:9"} if name == "NO_PROXY" else {}
    said = await run("url", "https://codegen.invalid", clean_environment | proxy | {name: STALE[name]})
    assert said.startswith("UnavailableError ")
    assert "\n" not in said


@pytest.fixture
def clean_environment() -> dict[str, str]:
    import os

    prefixes = ("SSL", "HTTP_", "HTTPS_", "ALL_", "NO_")
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(prefixes)}
