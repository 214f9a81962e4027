"""The process that keeps an engine: it replaces engines that were killed, and neither outlives the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest
from support.served import Served, serving

from codegen_lsp.engine.http import keeper

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not keeper.is_supported(), reason="engines are only kept on Linux without GPUs"),
]


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
