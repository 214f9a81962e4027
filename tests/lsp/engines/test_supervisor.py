"""The supervisor against real processes that speak the wire, as scripted (`support/fake_engine.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from support import fake_engine
from support.engines import engines_in, stop_engines
from support.fake_engine import FakeEngine, until

from codegen_lsp.lsp.engines import supervisor as module
from codegen_lsp.lsp.engines.backend import EngineState
from codegen_lsp.lsp.engines.backoff import Backoff
from codegen_lsp.lsp.engines.remote import RemoteBackend
from codegen_lsp.lsp.engines.supervisor import Supervisor
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.wire.config import EngineConfig, log_path, socket_path

COMMAND = (sys.executable, fake_engine.__file__)


class Watched:
    """A supervisor and the states that it told of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.states: list[EngineState] = []
        self.supervisor = Supervisor(
            EngineConfig(), idle_timeout=60, timeout=5, on_change=self.states.append, command=COMMAND
        )

    @property
    def phases(self) -> list[str]:
        return [s.phase for s in self.states]

    def engines(self) -> list[psutil.Process]:
        return engines_in(self.folder)

    async def reach(self, phase: str, seconds: float = 20) -> None:
        await until(lambda: self.supervisor.state.phase == phase, seconds)


Start = Callable[..., Watched]


@pytest.fixture
async def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    monkeypatch.setenv("CODEGEN_LSP_RUNTIME_DIR", str(tmp_path))
    made: list[Watched] = []

    def begin(**script: Any) -> Watched:
        monkeypatch.setenv("FAKE_ENGINE", json.dumps(script))
        watched = Watched(tmp_path)
        made.append(watched)
        watched.supervisor.start()
        return watched

    yield begin
    for watched in made:
        await watched.supervisor.aclose()
    await asyncio.to_thread(stop_engines, tmp_path)


async def test_starts_an_engine_and_tells_of_its_load(start: Start) -> None:
    watched = start(load=1.0)
    assert await watched.supervisor.acquire() is Reason.STARTING
    await watched.reach("loading")
    assert await watched.supervisor.acquire() is Reason.LOADING
    await watched.reach("ready")
    assert await watched.supervisor.acquire() is None
    percents = [s.percent for s in watched.states if s.phase == "loading"]
    assert percents == sorted(percents)  # type: ignore[type-var]
    assert 75 in percents
    assert watched.supervisor.info.id == "fake"
    assert watched.supervisor.engine.extensions


async def test_two_supervisors_share_one_engine(start: Start) -> None:
    first = start()
    await first.reach("ready")
    second = start()
    await second.reach("ready")
    assert len(first.engines()) == 1


async def test_the_engine_outlives_its_supervisor(start: Start) -> None:
    watched = start()
    await watched.reach("ready")
    await watched.supervisor.aclose()
    assert len(watched.engines()) == 1


async def test_a_killed_engine_is_told_of_and_replaced(start: Start) -> None:
    watched = start()
    await watched.reach("ready")
    (old,) = watched.engines()
    old.kill()
    await until(lambda: "error" in watched.phases)
    assert "SIGKILL" in next(s.message for s in watched.states if s.phase == "error")
    await watched.reach("ready")
    (new,) = watched.engines()
    assert new.pid != old.pid


async def test_a_killed_engine_of_another_server_is_replaced_too(start: Start) -> None:
    first = start()
    await first.reach("ready")
    second = start()
    await second.reach("ready")
    await first.supervisor.aclose()
    (old,) = second.engines()
    old.kill()
    await until(lambda: "error" in second.phases)
    await second.reach("ready")


async def test_an_engine_that_left_is_asleep_until_it_is_needed(start: Start) -> None:
    # A process that held a model takes a while to end after its socket is closed.
    watched = start(leave=0.2, linger=0.7)
    await watched.reach("ready")
    await watched.reach("asleep")
    assert watched.phases.count("starting") <= 1
    assert "error" not in watched.phases
    assert not watched.engines()
    await asyncio.sleep(1)
    assert not watched.engines(), "nobody asked for it"
    assert await watched.supervisor.acquire(10.0) is None


async def test_one_that_crashes_at_start_is_restarted_ever_more_slowly(start: Start) -> None:
    watched = start(crash=3)
    await watched.reach("error")
    assert await watched.supervisor.acquire() is Reason.UNAVAILABLE
    assert "it broke" in watched.supervisor.state.message
    assert str(log_path(EngineConfig())) in watched.supervisor.state.message
    await asyncio.sleep(3)
    # At once, after 0.5 s, after 1 s: a fourth would come at 3.5 s and later.
    assert log_path(EngineConfig()).read_text().count("it broke") <= 4


async def test_one_that_refuses_to_start_is_quoted_and_left_alone(start: Start) -> None:
    watched = start(crash=2, says="codegen-lsp: there is no folder /x; take nano")
    await watched.reach("error")
    assert watched.supervisor.state.message == "There is no folder /x; take nano."
    await asyncio.sleep(2)
    assert log_path(EngineConfig()).read_text().count("/x") == 1
    assert watched.phases.count("error") == 1
    os.environ["FAKE_ENGINE"] = "{}"  # Undone by the fixture's monkeypatch.
    await watched.supervisor.restart()
    await watched.reach("ready")


async def test_a_failed_load_is_told_and_not_repeated(start: Start) -> None:
    watched = start(fail="There is no checkpoint called x.", leave=0.5)
    await watched.reach("error")
    assert watched.supervisor.state.message == "There is no checkpoint called x."
    await until(lambda: not watched.engines())
    await asyncio.sleep(1)
    assert not watched.engines()
    assert watched.supervisor.state.message == "There is no checkpoint called x."
    os.environ["FAKE_ENGINE"] = "{}"  # Undone by the fixture's monkeypatch.
    await watched.supervisor.restart()
    await watched.reach("ready")


async def test_restart_replaces_the_engine(start: Start) -> None:
    watched = start()
    await watched.reach("ready")
    (old,) = watched.engines()
    await watched.supervisor.restart()
    assert watched.supervisor.state.phase == "starting"
    await watched.reach("ready")
    (new,) = watched.engines()
    assert new.pid != old.pid
    assert "error" not in watched.phases


async def test_a_hung_engine_is_killed(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HUNG_SECONDS", 0.5)
    monkeypatch.setattr("codegen_lsp.wire.client.HEALTH_SECONDS", 0.3)
    watched = start()
    await watched.reach("ready")
    (old,) = watched.engines()
    old.suspend()
    await until(lambda: not old.is_running() or old.status() == psutil.STATUS_ZOMBIE)
    await watched.reach("ready")


async def test_an_engine_whose_socket_was_removed_is_replaced(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.5)
    watched = start()
    await watched.reach("ready")
    (old,) = watched.engines()
    socket_path(EngineConfig()).unlink()
    await watched.reach("error")
    await watched.reach("ready")
    assert old.pid not in [e.pid for e in watched.engines()]


async def test_an_unloaded_model_comes_back_when_it_is_needed(start: Start) -> None:
    watched = start()
    await watched.reach("ready")
    await watched.supervisor.engine.unload()
    watched.supervisor.look()
    await watched.reach("asleep")
    assert await watched.supervisor.acquire(10.0) is None


async def test_a_socket_that_nobody_serves_is_no_obstacle(start: Start) -> None:
    socket_path(EngineConfig()).touch()
    await start().reach("ready")


async def test_the_engine_s_environment_is_the_user_s_without_what_changes_its_code(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [
        "CODEGEN_LSP_TOKEN",
        "PYTHONSTARTUP",
        "PYTHONHOME",
        "PYTHONINSPECT",
        "HF_HUB_OFFLINE",
        "PYTHONHASHSEED",
    ]
    for name in shown:
        monkeypatch.setenv(name, "1")
    # The interpreter of the fake engine is started without the hostile variables too, or it would not come up.
    await start(show=shown).reach("ready")
    seen = json.loads(log_path(EngineConfig()).read_text().splitlines()[0])
    assert {name: value for name, value in seen.items() if value == "1"} == {
        "HF_HUB_OFFLINE": "1",
        "PYTHONHASHSEED": "1",
    }
    assert seen["cwd"] == "/"


async def test_the_log_is_for_this_user_alone(start: Start) -> None:
    log = log_path(EngineConfig())
    log.touch()
    log.chmod(0o644)
    await start().reach("ready")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.parametrize("obstacle", ["a folder", "a link"])
async def test_an_engine_needs_no_log(start: Start, tmp_path: Path, obstacle: str) -> None:
    log = log_path(EngineConfig())
    if obstacle == "a folder":
        log.mkdir()
    elif obstacle == "a link":
        log.symlink_to(tmp_path / "precious")
    await start().reach("ready")
    assert not (tmp_path / "precious").exists()


async def test_a_runtime_folder_that_vanishes_comes_back(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.5)
    folder = tmp_path / "runtime"
    monkeypatch.setenv("CODEGEN_LSP_RUNTIME_DIR", str(folder))
    watched = start()
    await watched.reach("ready")
    shutil.rmtree(folder)
    await watched.reach("error")
    await watched.reach("ready")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_an_engine_that_asks_for_a_token_is_told_of(start: Start) -> None:
    async with FakeEngine(socket_path(EngineConfig()), token="s3cret"):
        watched = start()
        await watched.reach("error")
        assert "asks for a token" in watched.supervisor.state.message
    await watched.reach("ready")


def test_backoff_doubles_up_to_its_longest() -> None:
    backoff = Backoff()
    assert [backoff.take() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.take() == 0.5


async def test_a_server_elsewhere_is_watched_and_not_started() -> None:
    states: list[EngineState] = []
    async with FakeEngine(token="t", extensions=False) as fake:
        backend = RemoteBackend(fake.url, "t", 5, states.append)
        backend.start()
        await until(lambda: backend.state.phase == "ready")
        assert await backend.acquire() is None
        assert not backend.engine.extensions
        await backend.aclose()
        refused = RemoteBackend(fake.url, "wrong", 5, states.append)
        refused.start()
        await until(lambda: refused.state.phase == "error")
        assert "token" in refused.state.message
        await refused.aclose()
        address = fake.url
    gone = RemoteBackend(address, "t", 5, states.append)
    gone.start()
    await until(lambda: gone.state.phase == "error")
    assert address in gone.state.message
    assert await gone.acquire() is Reason.UNAVAILABLE
    await gone.aclose()


@pytest.mark.parametrize(
    ("status", "body", "phase", "message"),
    [
        (502, "<html><h1>Bad Gateway</h1></html>", "error", "the server answered with status 502"),
        (500, '{"error": {"message": "out of memory"}}', "error", "out of memory"),
        (200, "<html>Please log in</html>", "error", "is this a completions server?"),
        (404, "", "error", "the server answered with status 404"),
        (401, '{"detail": "no"}', "error", "set codegen.token"),
        (503, '{"status": "error", "message": "weights missing"}', "error", "weights missing"),
        (503, "<html>Service Unavailable</html>", "loading", "status 503"),
        (200, '{"data": []}', "ready", "is ready."),
    ],
)
async def test_what_a_server_elsewhere_answers_becomes_a_state(
    status: int, body: str, phase: str, message: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 {status} so\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            writer.write((head + body).encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    async with server:
        port = server.sockets[0].getsockname()[1]
        backend = RemoteBackend(f"http://127.0.0.1:{port}", "", 5, lambda _: None)
        backend.start()
        await until(lambda: backend.state.phase != "starting")
        assert backend.state.phase == phase
        assert message.lower() in backend.state.message.lower()
        assert "<" not in backend.state.message
        assert not re.search(r"[?.]\.$", backend.state.message)
        await backend.aclose()
