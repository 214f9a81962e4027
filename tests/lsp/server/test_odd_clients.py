"""Clients that differ in what LSP leaves open, or get a detail wrong: each is served as far as possible."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.editor import SERVER, environment
from support.fake_engine import FakeEngine, until
from support.processes import spawned
from support.raw import RawClient, frame

CODE = "def add(a, b):\n    return "
OPTIONS: dict[str, Any] = {"warm": False, "suffixRanking": False}
START = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}}


@pytest.fixture
async def raw(tmp_path: Path, fake: FakeEngine) -> AsyncIterator[RawClient]:
    async with RawClient(environment(tmp_path)) as client:
        await client.initialize(options=OPTIONS | {"server": fake.url})
        await until(lambda: client.status["state"] == "ready", 30)
        yield client


@pytest.mark.parametrize("identifier", [{}, {"version": None}], ids=["missing", "null"])
async def test_documents_without_versions_are_changed(
    raw: RawClient, fake: FakeEngine, identifier: dict[str, Any]
) -> None:
    uri = "file:///a.py"
    document = {"uri": uri, "languageId": "python", "text": CODE} | identifier
    await raw.notify("textDocument/didOpen", {"textDocument": document})
    for text in ("# one\n", "# two\n"):
        changes = [{"range": START, "text": text}]
        params = {"textDocument": {"uri": uri} | identifier, "contentChanges": changes}
        await raw.notify("textDocument/didChange", params)
    await raw.ask("textDocument/inlineCompletion", raw.inline(uri, 3, 11))
    assert fake.completions[0]["prompt"] == "# two\n# one\n" + CODE


@pytest.mark.parametrize(
    ("opened", "used"),
    [
        ("file:///c%3A/a%20b/x.py", "file:///C:/a b/x.py"),
        ("file:///C:/x.py", "file:///c%3A/x.py"),
        ("file:///home/%C3%BC.py", "file:///home/ü.py"),
    ],
)
async def test_a_document_is_the_same_in_every_spelling(raw: RawClient, opened: str, used: str) -> None:
    async def pause(uri: str, paused: bool | None) -> Any:
        arguments = [{"uri": uri, "paused": paused}]
        return await raw.ask("workspace/executeCommand", {"command": "codegen.pause", "arguments": arguments})

    async def reason(uri: str) -> Any:
        arguments = [{"uri": uri}]
        last = await raw.ask(
            "workspace/executeCommand", {"command": "codegen.showLastRequest", "arguments": arguments}
        )
        return last["result"]["reason"]

    await raw.open(opened, CODE)
    answer = await raw.ask("textDocument/inlineCompletion", raw.inline(used, 1, 11))
    assert answer["result"]["items"]
    await pause(used, True)
    answer = await raw.ask("textDocument/inlineCompletion", raw.inline(opened, 1, 11))
    assert answer["result"]["items"] == []
    assert await reason(used) == await reason(opened) == "paused"
    await pause(opened, None)
    answer = await raw.ask("textDocument/inlineCompletion", raw.inline(used, 1, 11))
    assert answer["result"]["items"]
    await raw.notify("textDocument/didClose", {"textDocument": {"uri": used}})
    assert (
        "not open"
        in (await raw.ask("textDocument/inlineCompletion", raw.inline(opened, 1, 11)))["error"]["message"]
    )


async def test_a_client_that_never_sends_initialized_is_told_and_served(
    tmp_path: Path, fake: FakeEngine
) -> None:
    async with RawClient(environment(tmp_path)) as raw:
        params = {
            "processId": None,
            "rootUri": None,
            "capabilities": {"workspace": {"configuration": True}},
            "initializationOptions": OPTIONS | {"server": fake.url},
        }
        await raw.ask("initialize", params)
        await raw.open("file:///a.py", CODE)
        await until(lambda: any("`initialized`" in message for message in raw.shown), 30)
        await until(lambda: raw.status["state"] == "ready", 30)
        answer = await raw.ask("textDocument/inlineCompletion", raw.inline("file:///a.py", 1, 11))
        assert answer["result"]["items"]


async def test_the_server_ends_with_the_editor_s_process(tmp_path: Path) -> None:
    async with (
        spawned(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE) as editor,
        RawClient(environment(tmp_path)) as raw,
    ):
        params = {
            "processId": editor.pid,
            "rootUri": None,
            "capabilities": {},
            "initializationOptions": {"enabled": False},
        }
        await raw.ask("initialize", params)
        await raw.notify("initialized", {})
        await until(lambda: raw.status["state"] == "paused", 30)
        await raw.ask("workspace/executeCommand", {"command": "codegen.status"})
        assert raw.process.returncode is None
        editor.kill()
        # Its standard input stays open: another child process of the editor may have inherited the pipe.
        await editor.wait()
        await until(lambda: raw.process.returncode is not None, 30)
        assert raw.process.returncode == 1


async def test_a_process_number_of_another_machine_ends_nothing(tmp_path: Path, fake: FakeEngine) -> None:
    async with RawClient(environment(tmp_path)) as raw:
        params = {
            "processId": 2**30,
            "rootUri": None,
            "capabilities": {},
            "initializationOptions": OPTIONS | {"server": fake.url},
        }
        await raw.ask("initialize", params)
        await raw.notify("initialized", {})
        await until(lambda: raw.status["state"] == "ready", 30)
        await asyncio.sleep(3)
        assert (await raw.ask("workspace/executeCommand", {"command": "codegen.status"}))["result"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_are_named(tmp_path: Path, closed: str) -> None:
    command = ["/bin/sh", "-c", f'exec "$0" "$@" {closed}', *SERVER]
    done = subprocess.run(command, env=environment(tmp_path), input=b"", capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    if "2>&-" not in closed:
        assert b"is closed" in done.stderr


async def test_a_closed_standard_error_leaves_the_protocol_alone(tmp_path: Path, fake: FakeEngine) -> None:
    command = ("/bin/sh", "-c", 'exec "$0" "$@" 2>&-', *SERVER)
    async with RawClient(environment(tmp_path), command) as raw:
        await raw.initialize(options=OPTIONS | {"server": fake.url, "logLevel": "debug"})
        await until(lambda: raw.status["state"] == "ready", 30)
        await raw.bytes(frame(b"{broken"))
        assert (await raw.ask("shutdown"))["result"] is None


async def test_an_interpreter_without_docstrings_and_assertions(tmp_path: Path, fake: FakeEngine) -> None:
    async with RawClient(environment(tmp_path, PYTHONOPTIMIZE="2")) as raw:
        await raw.initialize(options=OPTIONS | {"server": fake.url, "candidates": "many"})
        await until(lambda: raw.status["state"] == "ready", 30)
        await raw.open("file:///a.py", CODE)
        answer = await raw.ask("textDocument/inlineCompletion", raw.inline("file:///a.py", 1, 11))
        assert answer["result"]["items"]
        assert any("codegen.candidates" in message for message in raw.shown)


def test_the_command_line_without_docstrings(tmp_path: Path) -> None:
    for arguments in (["--help"], ["complete", "--help"], ["serve", "--help"]):
        done = subprocess.run(
            [*SERVER, *arguments],
            env=environment(tmp_path, PYTHONOPTIMIZE="2"),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout


async def test_an_address_in_capitals_is_an_address(tmp_path: Path, fake: FakeEngine) -> None:
    async with RawClient(environment(tmp_path)) as raw:
        await raw.initialize(options=OPTIONS | {"server": fake.url.replace("http", "HTTP")})
        await until(lambda: raw.status["state"] == "ready", 30)
        assert raw.shown == []
