"""From start to end of an engine that editors share: loading, crashing, leaving, coming back."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lsprotocol import types as lsp
from support.editor import ROOT, SERVER, Editor, StartEditor, environment
from support.engines import engine_processes
from support.interpreter import python_with
from support.processes import spawned

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]

CODE = "import os\n\n\ndef join(a, b):\n    return os.path."
END = (4, 19)

GUARD = """
import os, socket, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        if getattr(arguments[0], "family", None) == socket.AF_UNIX:
            return
        with open(os.environ["GUARD_LOG"], "a") as log:
            print(event, arguments, file=log)
        raise OSError("this test has no network")

sys.addaudithook(watch)
with open(os.environ["GUARD_LOG"], "a") as log:
    print("watching", os.getpid(), file=log)
"""


async def test_the_first_minutes(editor: StartEditor) -> None:
    ed = await editor()
    uri = ed.open(CODE)
    assert await ed.inline(uri, *END) == []
    assert await ed.reason() in ("starting", "loading")
    assert not (await ed.menu(uri, *END)).items
    await ed.ready()
    assert ed.statuses[0]["state"] == "starting"
    assert "loading" in ed.states
    assert ed.status["model"] == "nano"
    (reports,) = ed.client.progress_reports.values()
    assert isinstance(reports[0], lsp.WorkDoneProgressBegin)
    await ed.until(lambda: isinstance(reports[-1], lsp.WorkDoneProgressEnd))
    # What was asked in vain has been read meanwhile.
    async with asyncio.timeout(30):
        while (await ed.metrics())["codegen_prefill_tokens_total"] < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await ed.inline(uri, *END, invoked=True)
    usage = (await ed.last())["usage"]
    assert usage["prompt_tokens"] - usage["cached_tokens"] <= 8, usage


async def test_the_language_server_holds_no_model_and_little_memory(editor: StartEditor) -> None:
    ed = await editor()
    uri = ed.open((ROOT / "codegen_lsp" / "wire" / "answers.py").read_text())
    await ed.ready()
    for line in range(100, 130):
        await ed.inline(uri, line, 0, invoked=True)
        await ed.menu(uri, line, 0)
    maps = {Path(m.path).name for m in ed.process.memory_maps()}
    assert not [m for m in maps if "torch" in m or "numpy" in m]
    assert ed.process.memory_info().rss < 120 * 2**20


async def test_an_engine_killed_in_the_middle(editor: StartEditor) -> None:
    ed = await editor({"multiline": "always", "maxTokensBlock": 256, "candidates": 10, "temperature": 2})
    uri = ed.open(CODE)
    await ed.ready()
    (engine,) = ed.engines()
    request = asyncio.ensure_future(ed.inline(uri, *END, invoked=True))
    while (await ed.command("codegen.status"))["state"] != "busy":
        assert not request.done()
    engine.kill()
    items = await asyncio.wait_for(request, 10)
    if not items:  # Else it was over just before the kill.
        assert await ed.reason() == "engine-unavailable"
    await ed.until(lambda: ed.status["state"] == "error")
    assert ed.status["kind"] == "Error"
    assert "stopped unexpectedly" in ed.status["message"]
    await ed.until(lambda: ed.status["state"] == "ready", 90)
    assert await ed.inline(uri, *END, invoked=True)
    (new,) = ed.engines()
    assert new.pid != engine.pid


async def test_a_killed_engine_is_replaced_without_a_new_start(editor: StartEditor, tmp_path: Path) -> None:
    ed = await editor()
    uri = ed.open(CODE)
    await ed.ready()
    (engine,) = ed.engines()
    parents = {process.pid for process in engine_processes(tmp_path)} - {engine.pid}
    engine.kill()
    async with asyncio.timeout(60):
        while not await ed.inline(uri, *END, invoked=True):
            assert await ed.reason() in ("starting", "loading", "engine-unavailable")
            await asyncio.sleep(0.05)
    (new,) = ed.engines()
    assert new.pid != engine.pid
    assert {process.pid for process in engine_processes(tmp_path)} - {new.pid} == parents
    message = next(status["message"] for status in ed.statuses if status["state"] == "error")
    assert "stopped unexpectedly" in message


async def test_two_servers_that_start_at_once_share_one_engine(editor: StartEditor) -> None:
    one, two = await asyncio.gather(editor(), editor())
    await asyncio.gather(one.ready(), two.ready())
    assert len(one.engines()) == 1
    uris = [ed.open(CODE) for ed in (one, two)]
    answers = await asyncio.gather(
        *(ed.inline(uri, *END, invoked=True) for ed, uri in zip((one, two), uris, strict=True))
    )
    assert all(answers)
    await one.client.shutdown_session()
    assert await two.inline(uris[1], *END, invoked=True)
    assert len(two.engines()) == 1


async def test_an_engine_leaves_after_a_quiet_time_and_comes_back(editor: StartEditor) -> None:
    ed = await editor({"idleTimeout": 5, "warm": False})
    await ed.ready()
    await ed.until(lambda: not ed.engines(), 30)
    await ed.until(lambda: ed.status["kind"] == "Inactive", 30)
    assert ed.status["state"] == "ready"
    assert "error" not in ed.states
    uri = ed.open(CODE)
    await _suggested(ed, uri)


async def test_unload_and_restart(editor: StartEditor) -> None:
    ed = await editor({"warm": False})
    uri = ed.open(CODE)
    await ed.ready()
    (engine,) = ed.engines()
    assert (await ed.command("codegen.unloadModel"))["unloaded"]
    await ed.until(lambda: ed.status["kind"] == "Inactive")
    await _suggested(ed, uri)
    assert [e.pid for e in ed.engines()] == [engine.pid]
    await ed.command("codegen.restartEngine")
    await ed.until(lambda: [e.pid for e in ed.engines()] not in ([], [engine.pid]), 60)
    await ed.until(lambda: ed.status["state"] == "ready", 90)
    assert "error" not in ed.states
    assert await ed.inline(uri, *END, invoked=True)


async def test_a_model_that_is_not_there_is_told_and_can_be_mended(
    editor: StartEditor, tmp_path: Path
) -> None:
    ed = await editor({"model": str(tmp_path / "nothing")})
    await ed.until(lambda: ed.status["state"] == "error", 90)
    assert "nothing" in ed.status["message"]
    assert "Traceback" not in ed.status["message"]
    uri = ed.open(CODE)
    assert await ed.inline(uri, *END) == []
    assert await ed.reason() == "engine-unavailable"
    ed.client.set_configuration({"codegen": {"model": "nano"}})
    ed.client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(None))
    await ed.until(lambda: ed.status["state"] == "ready", 90)
    assert await ed.inline(uri, *END, invoked=True)


async def test_nothing_tries_to_reach_a_host(editor: StartEditor, tmp_path: Path) -> None:
    log = tmp_path / "guard.log"
    command = (str(python_with(tmp_path / "guarded", GUARD)), *SERVER[1:])
    ed = await editor(env={"GUARD_LOG": str(log)}, command=command)
    uri = ed.open(CODE)
    await ed.ready()
    assert await ed.inline(uri, *END, invoked=True)
    lines = log.read_text().splitlines()
    assert len(lines) >= 2, "both processes must be watched"
    assert [line for line in lines if not line.startswith("watching")] == []


async def test_an_odd_environment_stops_no_engine(editor: StartEditor, tmp_path: Path) -> None:
    """A unix socket needs no certificates and no proxy, and the token is for servers on the network."""
    odd = {
        "SSL_CERT_FILE": "/nowhere/ca.pem",
        "SSL_CERT_DIR": "/nowhere",
        "SSLKEYLOGFILE": "/nowhere/keys",
        "ALL_PROXY": "socks5://127.0.0.1:1",
        "NO_PROXY": "[::1,*,,;",
        "CODEGEN_LSP_TOKEN": "a-long-sécret",
        "PYTHONOPTIMIZE": "2",
        "PYTHONSTARTUP": "/nowhere/start.py",
        "HOME": "/proc/nowhere",
        "XDG_CACHE_HOME": "/proc/nowhere",
    }
    ed = await editor(env=odd)
    uri = ed.open(CODE)
    await ed.ready()
    assert await ed.inline(uri, *END, invoked=True)
    assert ed.messages == []


async def test_a_model_is_loaded_by_an_interpreter_without_docstrings(tmp_path: Path) -> None:
    command = (*SERVER, "generate", "def f(", "--max-tokens", "1")
    env = environment(tmp_path, PYTHONOPTIMIZE="2")
    done = await asyncio.to_thread(
        subprocess.run, command, env=env, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("def f(")


async def test_a_full_disk_stops_no_engine(editor: StartEditor, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    script = (
        f"mount -t tmpfs -o size=64k,mode=700 full {full} && "
        f'{{ cat /dev/zero > {full}/filler 2>/dev/null || true; }} && exec "$0" "$@"'
    )
    unshare = shutil.which("unshare")
    command = (unshare or "", "-rm", "/bin/sh", "-c", script)
    if not unshare or await asyncio.to_thread(_fails, *command, "true"):
        pytest.skip("this system does not let a user mount a folder")
    places = ("CODEGEN_LSP_RUNTIME_DIR", "HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TMPDIR")
    ed = await editor(env=dict.fromkeys(places, str(full)), command=(*command, *SERVER))
    uri = ed.open(CODE)
    await ed.ready()
    assert await ed.inline(uri, *END, invoked=True)


async def test_it_works_where_there_is_no_network_at_all(editor: StartEditor) -> None:
    unshare = _unshare()
    if not unshare:
        pytest.skip("this system does not let a user make a namespace without network")
    ed = await editor(command=(unshare, "-rn", *SERVER))
    uri = ed.open(CODE)
    await ed.ready()
    assert await ed.inline(uri, *END, invoked=True)


async def test_a_server_elsewhere(editor: StartEditor, tmp_path: Path) -> None:
    async with _served_on_a_port(tmp_path) as address:
        ed = await editor({"server": address, "token": "s3cret"})
        uri = ed.open(CODE)
        await ed.ready()
        assert ed.status["model"] == "nano"
        assert await ed.inline(uri, *END, invoked=True)
        other = await editor({"server": address, "token": "wrong"})
        await other.until(lambda: other.status["state"] == "error")
        assert "token" in other.status["message"]


def _unshare() -> str:
    """The program that makes a namespace without network, empty where that is not allowed."""
    found = shutil.which("unshare")
    return (
        found if found and not subprocess.run([found, "-rn", "true"], capture_output=True).returncode else ""
    )


def _fails(*command: str) -> bool:
    return subprocess.run(command, capture_output=True).returncode != 0


async def _suggested(ed: Editor, uri: str) -> None:
    """Ask until an engine that slept answers; meanwhile the reason says what it does."""
    async with asyncio.timeout(90):
        while not await ed.inline(uri, *END, invoked=True):
            assert await ed.reason() in ("starting", "loading")
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def _served_on_a_port(folder: Path) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with spawned(
        *SERVER, "serve", "--host", "127.0.0.1", "--port", str(port), "--token", "s3cret",
        "--idle-timeout", "120", "--offload-folder", str(folder),
        env=environment(folder), cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    ):  # fmt: skip
        yield f"http://127.0.0.1:{port}"
