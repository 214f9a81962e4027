from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from support.fake_engine import FakeEngine, until

from codegen_lsp.wire.answers import join_chunks
from codegen_lsp.wire.client import HttpEngineClient
from codegen_lsp.wire.errors import (
    ConnectionLostError,
    NotReadyError,
    OverloadedError,
    RequestError,
    TimedOutError,
    UnauthorizedError,
    UnavailableError,
    WireError,
)
from codegen_lsp.wire.requests import CompletionRequest
from codegen_lsp.wire.transport.http import is_loopback

REQUEST = CompletionRequest(prompts=("def f():",), max_tokens=8, n=2, stream=True, heal=True, branch=True)


async def drain(engine: HttpEngineClient) -> None:
    """Read a stream to its end."""
    async for _ in engine.stream(REQUEST):
        pass


async def test_streams_what_the_engine_says(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path / "s") as fake:
        fake.rows = ["return 1", "pass"]
        engine = HttpEngineClient(socket=tmp_path / "s")
        answer = join_chunks([chunk async for chunk in engine.stream(REQUEST)])
        assert [c.text for c in answer.choices] == ["return 1", "pass"]
        assert answer.usage is not None
        assert answer.usage.cached_tokens == 4
        await engine.aclose()


async def test_closing_the_stream_stops_the_engine(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path / "s") as fake:
        fake.rows, fake.step = ["x" * 400], 0.01
        engine = HttpEngineClient(socket=tmp_path / "s")
        async with aclosing(engine.stream(REQUEST)) as chunks:
            await anext(chunks)
        await until(lambda: fake.cancelled == 1)
        await engine.aclose()


async def test_cancelling_the_reader_stops_the_engine(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path / "s") as fake:
        fake.rows, fake.step = ["x" * 400], 0.01
        engine = HttpEngineClient(socket=tmp_path / "s")

        task = asyncio.create_task(drain(engine))
        await until(lambda: len(fake.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: fake.cancelled == 1)
        await engine.aclose()


async def test_extensions_stay_away_from_other_servers() -> None:
    async with FakeEngine(extensions=False) as fake:
        engine = HttpEngineClient(url=fake.url)
        assert engine.extensions is False
        await drain(engine)
        assert {"heal", "branch"}.isdisjoint(fake.requests[0])
        await engine.aclose()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, None, RequestError),
        (401, None, UnauthorizedError),
        (429, None, OverloadedError),
        (503, "loading", NotReadyError),
        (500, None, WireError),
    ],
)
async def test_refusals_become_the_wires_errors(
    tmp_path: Path, status: int, code: str | None, expected: type[WireError]
) -> None:
    async with FakeEngine(tmp_path / "s") as fake:
        fake.refusal = (status, {"error": {"message": "no", "param": "prompt", "code": code}})
        engine = HttpEngineClient(socket=tmp_path / "s")
        with pytest.raises(expected, match="no") as caught:
            await drain(engine)
        assert caught.value.param == "prompt"
        with pytest.raises(expected):
            await engine.complete(REQUEST)
        await engine.aclose()


async def test_nobody_there(tmp_path: Path) -> None:
    engine = HttpEngineClient(socket=tmp_path / "none")
    with pytest.raises(UnavailableError):
        await engine.health()
    with pytest.raises(UnavailableError):
        await drain(engine)
    await engine.aclose()


async def test_connection_lost_in_the_middle(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path / "s") as fake:
        fake.rows, fake.break_after = ["x" * 40], 3
        engine = HttpEngineClient(socket=tmp_path / "s")
        with pytest.raises(ConnectionLostError):
            await drain(engine)
        await engine.aclose()


async def test_an_engine_that_says_nothing(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path / "s") as fake:
        fake.silent = True
        engine = HttpEngineClient(socket=tmp_path / "s", timeout=0.2)
        with pytest.raises(TimedOutError):
            await drain(engine)
        await engine.aclose()


async def test_health_and_models(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path / "s") as fake:
        engine = HttpEngineClient(socket=tmp_path / "s")
        fake.state, fake.progress = "loading", (1, 4)
        health = await engine.health()
        assert (health.state, health.done, health.total) == ("loading", 1, 4)
        fake.state = "ready"
        assert (await engine.health()).state == "ready"
        (model,) = await engine.models()
        assert (model.id, model.max_model_len) == ("fake", 2048)
        await engine.aclose()


async def test_the_token_is_sent() -> None:
    async with FakeEngine(token="s3cret") as fake:
        good, bad = HttpEngineClient(url=fake.url, token="s3cret"), HttpEngineClient(url=fake.url)
        assert await good.models()
        with pytest.raises(UnauthorizedError):
            await bad.models()
        await good.aclose()
        await bad.aclose()


async def test_text_that_utf_8_cannot_hold_is_sent_cleaned(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path / "s") as fake:
        engine = HttpEngineClient(socket=tmp_path / "s")
        await engine.complete(CompletionRequest(prompts=("a\ud800b\udc00🎈", (1, 2))))
        assert fake.requests[0]["prompt"] == ["a?b?🎈", [1, 2]]
        await engine.aclose()


def test_loopback() -> None:
    assert is_loopback("http://localhost:1")
    assert is_loopback("http://127.0.0.3:1")
    assert is_loopback("http://[::1]:1")
    assert not is_loopback("http://localhost.example.org")
    assert not is_loopback("http://10.0.0.1")
