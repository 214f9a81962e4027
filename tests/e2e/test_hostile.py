"""A client that does everything wrong for a while leaves a server that still answers, with flat memory."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.editor import environment
from support.fake_engine import until
from support.raw import RawClient, frame

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

CODE = "import os\n\n\ndef join(a, b):\n    return os.path."
END = (4, 19)
MEGABYTE = 2**20


@pytest.fixture
async def raw(shared_folder: Path) -> AsyncIterator[RawClient]:
    async with RawClient(environment(shared_folder)) as client:
        await client.initialize({"workspace": {"configuration": False}}, {"filtersWorkspaceSettings": True})
        await until(lambda: client.status["state"] in ("ready", "busy"), 240)
        yield client


async def still_answers(raw: RawClient) -> None:
    uri = f"file:///alive-{random.random()}.py"
    await raw.open(uri, CODE)
    params = raw.inline(uri, *END, context={"triggerKind": 1})
    answer = await raw.ask("textDocument/inlineCompletion", params, 60)
    assert answer["result"]["items"], answer
    await raw.notify("textDocument/didClose", {"textDocument": {"uri": uri}})


def memory(raw: RawClient) -> float:
    """Megabytes of the language server."""
    return psutil.Process(raw.process.pid).memory_info().rss / MEGABYTE


async def test_malformed_messages(raw: RawClient) -> None:
    chance = random.Random(1)
    for _ in range(300):
        body = bytearray(
            frame(raw.request("textDocument/inlineCompletion", raw.inline("file:///x.py", 0, 0)))
        )
        for _ in range(chance.randrange(1, 6)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        # A length that grew swallows what follows; so each is followed by room.
        await raw.bytes(bytes(body) + b"\r\n\r\n")
    await raw.bytes(b"\r\n" * 4096)
    for bad in (
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: 99999999999\r\n\r\n",
        b"\xff" * 5000 + b"\r\n\r\n",
    ):
        await raw.bytes(bad)
    await raw.bytes(frame(b"[" * 100_000))
    await raw.bytes(b" " * 2000)
    await still_answers(raw)


async def test_positions_out_of_range(raw: RawClient) -> None:
    await raw.open("file:///p.py", CODE)
    for line, character in [(0, 2**31 - 1), (2**31 - 1, 0), (2**31 - 1, 2**31 - 1), (5, 0), (4, 500)]:
        answer = await raw.ask(
            "textDocument/inlineCompletion", raw.inline("file:///p.py", line, character), 60
        )
        assert "result" in answer
    for line, character in [(-1, 0), (0, -1), (2**31, 0), ("x", 0), (None, None)]:
        answer = await raw.ask("textDocument/inlineCompletion", raw.inline("file:///p.py", line, character))  # type: ignore[arg-type]
        assert answer["error"]["code"] == -32602
    wild = {"start": {"line": 900, "character": 9}, "end": {"line": 3, "character": 99999}}
    changes = [{"range": wild, "text": "x"}, {"text": CODE}]
    await raw.notify(
        "textDocument/didChange",
        {"textDocument": {"uri": "file:///p.py", "version": 2}, "contentChanges": changes},
    )
    await still_answers(raw)


async def test_binary_text(raw: RawClient) -> None:
    texts = [
        "".join(map(chr, range(256))),
        "\x00" * 5000,
        "a\ud800b\udfff\n" * 50,
        "\u202e\u0301🎈👩‍👩‍👧 e\u0301" * 100,
        "x" * 300_000,
        "\r\r\n\n\r" * 500,
        bytes(random.Random(2).randrange(256) for _ in range(20_000)).decode("latin-1"),
        "(" * 20_000,
    ]
    for number, text in enumerate(texts):
        uri = f"file:///binary-{number}.py"
        await raw.open(uri, text)
        for line, character in [(0, 0), (0, 7), (1, 3), (2**20, 0)]:
            for method in ("textDocument/inlineCompletion", "textDocument/completion"):
                params = raw.inline(uri, line, character)
                if method.endswith("inlineCompletion"):
                    params["context"] = {"triggerKind": 1}
                else:
                    del params["context"]
                answer = await raw.ask(method, params, 60)
                assert "result" in answer, (number, answer)
        await raw.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    await still_answers(raw)


async def test_documents_of_five_megabytes(raw: RawClient) -> None:
    text = "def f(x):\n    return x  # a line of a long file\n" * (5 * MEGABYTE // 48)
    uri = "file:///huge.py"
    await raw.open(uri, text)
    for number in range(30):
        at = {"line": number * 1000, "character": 0}
        change = {"range": {"start": at, "end": at}, "text": "# typed\n"}
        await raw.notify(
            "textDocument/didChange",
            {"textDocument": {"uri": uri, "version": number + 2}, "contentChanges": [change]},
        )
    answer = await raw.ask("textDocument/inlineCompletion", raw.inline(uri, 5000, 4))
    assert answer["result"]["items"] == []
    last = await raw.ask("workspace/executeCommand", {"command": "codegen.showLastRequest"})
    assert last["result"]["reason"] == "document-too-large"
    # Told to serve it all the same, it does.
    await raw.notify("workspace/didChangeConfiguration", {"settings": {"codegen": {"maxFileSize": "9MiB"}}})
    params = raw.inline(uri, 50_000, 4, context={"triggerKind": 1})
    answer = await raw.ask("textDocument/inlineCompletion", params, 120)
    assert "result" in answer
    await raw.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    await still_answers(raw)


async def test_settings_of_wrong_types(raw: RawClient) -> None:
    bad: list[Any] = [
        7, "x", [], {"codegen": 7}, {"codegen": []}, {"codegen": {"candidates": "many"}},
        {"codegen": {"languages": [1]}}, {"codegen": {"model": {}}}, {"codegen": {"server": 5}},
        {"codegen": {"maxMemory": [[[]]]}}, {"codegen": {"debounce": 1e99}}, {"codegen": {"enabled": "no"}},
        {"codegen": {"nothing": {"of": "that"}}},
    ]  # fmt: skip
    for settings in bad:
        await raw.notify("workspace/didChangeConfiguration", {"settings": settings})
    await still_answers(raw)
    assert len(raw.shown) >= 8
    assert all("Traceback" not in message for message in raw.shown)


async def test_a_thousand_requests_of_which_most_are_cancelled(raw: RawClient) -> None:
    uri = "file:///busy.py"
    await raw.open(uri, CODE)

    async def hundred(kept: int) -> list[int]:
        ids = []
        for number in range(100):
            at = {"line": END[0], "character": END[1]}
            change = {"range": {"start": at, "end": at}, "text": "ab"[number % 2]}
            nonlocal version
            version += 1
            request = raw.request("textDocument/inlineCompletion", raw.inline(uri, END[0], END[1] + 1))
            ids.append(request["id"])
            changed = {"textDocument": {"uri": uri, "version": version}, "contentChanges": [change]}
            await raw.send({"jsonrpc": "2.0", "method": "textDocument/didChange", "params": changed}, request)
            if number != kept:
                await raw.notify("$/cancelRequest", {"id": request["id"]})
            if number % 10 == 0:
                await asyncio.sleep(0.01)
        await until(lambda: all(raw.answers(i) for i in ids), 120)
        await raw.notify(
            "textDocument/didChange",
            {"textDocument": {"uri": uri, "version": version}, "contentChanges": [{"text": CODE}]},
        )
        return ids

    version = 1
    ids = await hundred(99)
    await still_answers(raw)
    first = memory(raw)
    for _ in range(9):
        ids += await hundred(99)
    assert len(ids) == 1000
    assert all(len(raw.answers(i)) == 1 for i in ids)
    codes = [a["error"]["code"] for i in ids for a in raw.answers(i) if "error" in a]
    assert set(codes) == {-32800}
    assert len(ids) - len(codes) >= 10
    await still_answers(raw)
    assert memory(raw) < first + 12
    assert memory(raw) < 120


async def test_documents_that_come_and_go_leave_no_memory(raw: RawClient) -> None:
    text = json.dumps(list(range(60_000)), indent=0)  # About half a megabyte.

    async def round_of(documents: int) -> None:
        for number in range(documents):
            uri = f"file:///{number}.py"
            await raw.open(uri, text)
            await raw.ask("textDocument/inlineCompletion", raw.inline(uri, 50, 2), 60)
            await raw.notify("textDocument/didClose", {"textDocument": {"uri": uri}})

    await round_of(10)
    before = memory(raw)
    await round_of(25)
    assert memory(raw) < before + 15
    await still_answers(raw)


async def test_a_client_that_leaves_in_the_middle(shared_folder: Path, raw: RawClient) -> None:
    async with RawClient(environment(shared_folder)) as leaver:
        await leaver.initialize()
        await until(lambda: leaver.status["state"] in ("ready", "busy"), 240)
        await leaver.open("file:///l.py", CODE)
        params = leaver.inline("file:///l.py", *END, context={"triggerKind": 1})
        await leaver.send(leaver.request("textDocument/inlineCompletion", params))
        await leaver.bytes(b"Content-Length: 5000\r\n\r\n{")
        assert leaver.process.stdin is not None
        leaver.process.stdin.close()
        await asyncio.wait_for(leaver.process.wait(), 20)
    assert b"Traceback" not in leaver.errors
    await still_answers(raw)
