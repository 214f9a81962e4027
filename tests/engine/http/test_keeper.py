"""The process that keeps an engine: it replaces engines that were killed, and neither outlives the other."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from support.served import Served, serving, until

from codegen_lsp.engine.http import keeper

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not keeper.is_supported(), reason="engines are only kept on Linux without GPUs"),
]


def kill(engine: Served) -> int:
    """Kill the process that serves, and return its number."""
    pid = engine.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid))
    return pid


def text(engine: Served) -> str:
    """The text of a completion, once the model is there."""
    while True:
        try:
            response = engine.client.post(
                "/v1/completions", json={"prompt": "def f(", "max_tokens": 6, "temperature": 0}
            )
        except httpx.TransportError:  # The connection was that of the engine that was killed.
            continue
        if response.status_code == 200:
            return str(response.json()["choices"][0]["text"])
        assert response.json()["error"]["code"] == "loading"
        time.sleep(0.05)


def test_a_killed_engine_is_replaced_until_it_is_killed_too_often(tmp_path: Path) -> None:
    with serving(tmp_path) as engine:
        first, identity = text(engine), engine.socket.stat().st_ino
        seen = {engine.process.pid}
        for _ in range(keeper.CRASHES - 1):
            seen.add(kill(engine))
            assert text(engine) == first
            assert engine.pid not in seen
            assert engine.socket.stat().st_ino == identity
        kill(engine)
        assert engine.process.wait(30) == -signal.SIGKILL
        assert not list(tmp_path.glob("engine.sock*"))
    assert (tmp_path / "engine.log").read_text().count("ended by SIGKILL") == keeper.CRASHES - 1


def test_no_engine_outlives_the_process_that_keeps_it(tmp_path: Path) -> None:
    with serving(tmp_path) as engine:
        pid = engine.pid
        engine.process.kill()
        until(lambda: not psutil.pid_exists(pid))
    with serving(tmp_path) as engine:
        assert text(engine)


def test_a_connection_that_is_open_when_the_engine_takes_over_gets_its_answer(tmp_path: Path) -> None:
    with serving(tmp_path, wait=False) as engine, contextlib.ExitStack() as stack:
        until(engine.listens)
        loading = engine.health()
        connections = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(8)]
        for connection in connections:
            connection.connect(str(engine.socket))
        until(lambda: engine.pid != loading["pid"])
        for connection in connections:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
            with connection.makefile("rb") as answer:
                assert b'"status":"' in answer.read().replace(b" ", b"")


@pytest.mark.parametrize("way", ["SIGTERM", "shutdown"])
def test_it_can_be_stopped_while_it_loads(tmp_path: Path, way: str) -> None:
    with serving(tmp_path, wait=False) as engine:
        until(engine.listens)
        assert engine.health()["status"] == "loading"
        children = psutil.Process(engine.process.pid).children()
        if way == "SIGTERM":
            engine.process.terminate()
        else:
            assert engine.client.post("/shutdown").status_code == 202
        assert engine.process.wait(30) == 0
        assert not [child for child in children if child.is_running()]
        assert not list(tmp_path.glob("engine.sock*"))


def test_an_engine_that_fails_ends_its_keeper_with_its_exit_code() -> None:
    program = (
        "from codegen_lsp.engine.http.keeper import Keeper\n"
        "def serve(): raise RuntimeError('this engine fails')\n"
        "import signal\n"
        "raise SystemExit(Keeper(signal.pause, serve).run())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "this engine fails" in done.stderr
