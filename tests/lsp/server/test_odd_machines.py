"""The language server on machines where something is missing, stale or hostile: every failure has its sentence."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from support.editor import environment
from support.engines import stop_engines
from support.fake_engine import FakeEngine, until
from support.raw import RawClient

from codegen_lsp.lsp.options.options import FILTERED

CODE = "def add(a, b):\n    return "
OPTIONS: dict[str, Any] = {"warm": False, "suffixRanking": False, FILTERED: True}
"""Options of an editor that vouches for its settings, so that they may name another server."""


@pytest.fixture
async def connect(tmp_path: Path) -> AsyncIterator[Any]:
    """Start a language server with options and variables of the environment."""
    async with AsyncExitStack() as stack:

        async def start(options: dict[str, Any], **variables: str) -> RawClient:
            env = environment(tmp_path, **variables)
            raw = await stack.enter_async_context(RawClient(env))
            await raw.initialize(options=OPTIONS | options)
            return raw

        yield start
    await asyncio.to_thread(stop_engines, tmp_path)


async def settled(raw: RawClient) -> dict[str, Any]:
    """The status once it says more than that something is being started."""
    await until(lambda: raw.status["state"] not in ("none", "starting"), 30)
    return raw.status


async def configure(raw: RawClient, settings: dict[str, Any]) -> None:
    await raw.notify("workspace/didChangeConfiguration", {"settings": {"codegen": OPTIONS | settings}})


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ALL_PROXY": "socks5://127.0.0.1:1"}, "ALL_PROXY"),
        ({"HTTPS_PROXY": "nonsense://x", "HTTP_PROXY": "nonsense://x"}, "HTTP_PROXY"),
        ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE"),
        ({"CODEGEN_LSP_TOKEN": "ütoken"}, "token"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
async def test_why_a_client_can_t_be_made_reaches_the_status(
    connect: Any, variables: dict[str, str], said: str
) -> None:
    raw = await connect({"server": "https://completions.invalid"}, **variables)
    status = await settled(raw)
    assert status["state"] == "error"
    assert said in status["message"]
    await raw.open("file:///a.py", CODE)
    answer = await raw.ask("textDocument/inlineCompletion", raw.inline("file:///a.py", 1, 11))
    assert answer["result"]["items"] == []
    await configure(raw, {"enabled": False})
    await until(lambda: raw.status["state"] == "paused")


@pytest.mark.parametrize(
    "variables",
    [
        {
            "SSL_CERT_FILE": "/nowhere/ca.pem",
            "SSL_CERT_DIR": "/nowhere",
            "SSLKEYLOGFILE": "/nowhere/keys",
            "ALL_PROXY": "socks5://127.0.0.1:1",
            "NO_PROXY": "[::1,*,,;",
        },
        dict.fromkeys(
            ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "TMPDIR"), "/proc/nowhere"
        ),
    ],
    ids=["network", "folders for logs and caches"],
)
async def test_this_machine_needs_nothing_of_the_environment(
    connect: Any, fake: FakeEngine, variables: dict[str, str]
) -> None:
    raw = await connect({"server": fake.url}, **variables)
    assert (await settled(raw))["state"] == "ready"


@pytest.mark.parametrize(
    "bad",
    [
        {"server": "http://[::1"},
        {"model": "a\x00b"},
        {"model": "~nobody-has-this-name/model"},
        {"prefixCache": "9" * 309},
        {"token": "ütoken"},
        {"offloadFolder": "a\x00b"},
        {"revision": "x\x00"},
    ],
    ids=lambda value: "-".join(value),
)
async def test_a_setting_that_can_t_be_used_is_named_and_nothing_waits_for_ever(
    connect: Any, fake: FakeEngine, bad: dict[str, Any], tmp_path: Path
) -> None:
    # The default server is an engine on this machine, for which there is no folder here.
    (tmp_path / "file").touch()
    raw = await connect({"server": fake.url} | bad, CODEGEN_LSP_RUNTIME_DIR=str(tmp_path / "file"))
    status = await settled(raw)
    assert status["state"] == ("error" if "server" in bad else "ready"), status
    (name,) = bad
    assert any(f"codegen.{name}" in message for message in raw.shown), raw.shown


async def test_the_environment_s_token_stays_with_its_server(connect: Any, fake: FakeEngine) -> None:
    raw = await connect({"server": fake.url}, CODEGEN_LSP_TOKEN="s3cret")
    assert (await settled(raw))["state"] == "ready"
    assert {h.get("authorization") for h in fake.headers} == {"Bearer s3cret"}
    async with FakeEngine() as other:
        await configure(raw, {"server": other.url})
        await until(lambda: other.headers, 30)
        assert {h.get("authorization") for h in other.headers} == {None}


async def test_a_token_is_not_sent_to_an_address_from_other_settings(connect: Any, fake: FakeEngine) -> None:
    raw = await connect({"server": fake.url, "token": "s3cret"})
    assert (await settled(raw))["state"] == "ready"
    async with FakeEngine() as other:
        await configure(raw, {"server": other.url})
        await until(lambda: other.headers, 30)
        assert {h.get("authorization") for h in other.headers} == {None}
    assert any("codegen.token" in message for message in raw.shown)
    assert "s3cret" not in str(raw.shown)


@pytest.mark.parametrize("works", [True, False])
async def test_a_password_in_an_address_is_shown_nowhere(connect: Any, fake: FakeEngine, works: bool) -> None:
    address = fake.url.replace("http://", "http://user:passw0rd@")
    if not works:
        fake.refusal = (500, {"error": {"message": "it broke"}})
        fake.state = "error"
    raw = await connect({"server": address, "logLevel": "debug"})
    await settled(raw)
    await raw.open("file:///a.py", CODE)
    await raw.ask("textDocument/inlineCompletion", raw.inline("file:///a.py", 1, 11))
    await raw.ask("workspace/executeCommand", {"command": "codegen.showLastRequest"})
    await raw.ask("workspace/executeCommand", {"command": "codegen.status"})
    await raw.ask("shutdown")
    assert "passw0rd" not in str(raw.received)
    assert b"passw0rd" not in raw.errors


async def test_a_file_that_a_server_names_is_never_opened(
    connect: Any, fake: FakeEngine, tmp_path: Path
) -> None:
    fifo = tmp_path / "tokenizer.json"
    os.mkfifo(fifo)
    fake.tokenizer_file = str(fifo)
    raw = await connect({"server": fake.url})
    assert (await settled(raw))["state"] == "ready"
    await raw.open("file:///a.py", CODE)
    answer = await raw.ask("textDocument/inlineCompletion", raw.inline("file:///a.py", 1, 11))
    assert answer["result"]["items"]
    # A FIFO without a reader refuses to be opened for writing without waiting.
    with pytest.raises(OSError, match="No such device"):
        os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
