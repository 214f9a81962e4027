"""Finds this user's engine for a configuration, starts it where there is none, watches it, restarts it.

Knows processes, sockets, backoff. Knows nothing of what the engine is asked. An engine outlives the language
server that started it, so that editors share it; it leaves by itself after a quiet time. Two servers that start
at once both start one: the engine's own lock lets one win, and both find it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from codegen_lsp.lsp.engines.backend import Backend, EngineState, as_sentence
from codegen_lsp.wire.answers import Health
from codegen_lsp.wire.client import HttpEngineClient, TimedOutError, TransportError, UnavailableError
from codegen_lsp.wire.config import EngineConfig, log_path, runtime_dir, socket_path
from codegen_lsp.wire.errors import WireError
from codegen_lsp.wire.requests import CompletionRequest

logger = logging.getLogger(__name__)

HUNG_SECONDS = 30.0
"""An engine that accepts connections and says nothing for so long is killed."""
START_SECONDS = 180.0
"""A process that has opened no socket after so long is killed."""
STABLE_SECONDS = 30.0
"""An engine that was ready for so long has earned a fresh backoff."""
LEAVE_SECONDS = 10.0
"""An engine that was asked to leave and is still there after so long is killed."""
REFUSED = 2
"""The exit code of an engine that says in one sentence why it can't be started so."""
REFUSED_SECONDS = (30.0, 600.0)
"""Only a person can change that: it is tried again after so long, ever less often, in case somebody has."""
MAX_LOG = 4 * 2**20


class Backoff:
    """Seconds to wait before the next start: 0.5, 1, 2, ... 30."""

    def __init__(self, first: float = 0.5, longest: float = 30.0) -> None:
        self._first, self._longest = first, longest
        self.reset()

    def reset(self) -> None:
        """Begin again."""
        self._next = self._first

    def take(self) -> float:
        """The wait now; the next one is twice as long."""
        now, self._next = self._next, min(self._next * 2, self._longest)
        return now


class Supervisor(Backend):
    """The local engine of one configuration."""

    def __init__(
        self,
        config: EngineConfig,
        *,
        idle_timeout: int,
        timeout: float,
        on_change: Callable[[EngineState], None],
        command: Sequence[str] = (),
    ) -> None:
        """`command` replaces the way `codegen-lsp` is called; the `serve` arguments follow it.

        Raises:
            ConfigError: there is no folder where a socket is safe.
        """
        super().__init__(config.model, on_change)
        self._config = config
        self._socket = socket_path(config)
        self._log = log_path(config)
        self._command = [*(command or (sys.executable, "-P", "-m", "codegen_lsp")), "serve"]
        self._command += ["--socket", str(self._socket), "--idle-timeout", str(idle_timeout)]
        self._command += config.to_argv()
        self.engine = HttpEngineClient(socket=self._socket, timeout=timeout)
        self._process: subprocess.Popen[bytes] | None = None
        self._backoff = Backoff()
        self._refused = Backoff(*REFUSED_SECONDS)
        self._wanted = True
        """Whether an engine that isn't there is to be started."""
        self._called = False
        """Whether somebody asked for an engine that sleeps."""
        self._failed = False
        """The model can't be loaded; only a person can change that."""
        self._health: Health | None = None
        """The last word of the engine that runs; None while none does."""
        self._leaving = 0
        """The process number of an engine that was asked to leave for a restart."""
        self._leave_by = 0.0
        self._gone_since: float | None = None
        """Since when an engine that was up can't be reached, although its process lives."""
        self._not_before = 0.0
        self._spawned_at = 0.0
        self._ready_at: float | None = None
        self._silent_since: float | None = None

    async def restart(self) -> None:
        """Stop the engine, hung or not, and start a new one at once."""
        pid = self._health.pid if self._health else 0
        try:
            await self.engine.shutdown()
        except TransportError:
            self._kill(pid)
        except WireError as error:
            logger.warning("the engine refused to leave: %s", error)
        self._leaving = pid
        self._leave_by = time.monotonic() + LEAVE_SECONDS
        self._failed, self._wanted, self._not_before = False, True, 0.0
        self._backoff.reset()
        self._refused.reset()
        self._set(EngineState("starting", self._config.model, "The engine is being restarted."))
        self._nudge.set()

    async def make_room(self) -> None:
        """Unload the model: what nobody wants any more would sit in the memory that the next one needs."""
        try:
            async with asyncio.timeout(2):
                await self.engine.unload()
        except (WireError, TimeoutError) as error:
            logger.info("the engine that is left could not be unloaded: %s", error)

    async def aclose(self) -> None:
        """Stop watching. The engine stays for others; the system takes it over when this process leaves."""
        await super().aclose()
        if self._process is not None and self._process.poll() is None:
            self._process.returncode = 0  # Given away on purpose: nobody is to warn that it still runs.

    def _wake(self) -> None:
        if self.state.phase == "asleep":
            self._wanted = self._called = True
            self._nudge.set()

    async def _step(self) -> float:
        try:
            if (
                not self._socket.exists()
            ):  # A connection that is still open would hide that no other can be made.
                raise UnavailableError(f"there is no socket {self._socket}")
            health = await self.engine.health()
        except TimedOutError:
            return self._silent()
        except TransportError:
            self._silent_since = None
            return await self._absent()
        except WireError as error:  # it can't even say how it is
            logger.warning("the engine's health: %s", error)
            return self._silent()
        self._silent_since = self._gone_since = None
        if self._leaving and health.pid == self._leaving:
            if time.monotonic() > self._leave_by:
                self._kill(health.pid)
            return 0.1
        self._leaving = 0
        self._health = health
        model = health.model or self._config.model
        match health.state:
            case "loading":
                text = health.message or f"Loading {model}."
                self._set(EngineState("loading", model, text, health.done, health.total))
                return 0.1
            case "error":
                self._failed, self._wanted = True, False
                self._set(
                    EngineState("error", model, as_sentence(health.message or f"{model} could not be loaded"))
                )
                return 2.0
            case "unloaded" if self._called:
                # Only a request for text brings the model back; this one asks for none.
                with contextlib.suppress(WireError):
                    await self.engine.complete(CompletionRequest(prompts=("\n",), max_tokens=0))
                self._called = False
                return 0.05
            case "unloaded":
                self._set(EngineState("asleep", model, f"{model} is unloaded; the next request loads it."))
                return 2.0
        return await self._ready(model)

    async def _ready(self, model: str) -> float:
        self._called = False
        now = time.monotonic()
        if self.state.phase != "ready":
            await self._learn_model()
            self._ready_at = now
        elif self._ready_at is not None and now - self._ready_at > STABLE_SECONDS:
            self._backoff.reset()
        self._failed = False
        self._refused.reset()
        self._set(EngineState("ready", model, f"{model} is ready."))
        return 2.0

    def _silent(self) -> float:
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if now - self._silent_since > HUNG_SECONDS and self._health is not None:
            self._kill(self._health.pid)
            self._silent_since = None
            self._trouble("The engine stopped answering and was stopped; a new one is being started.")
        return 1.0

    async def _absent(self) -> float:
        """There is no engine: tell why, and start one if one is wanted and it is time."""
        now = time.monotonic()
        code = self._process.poll() if self._process is not None else None
        if self._process is not None and code is None:
            return self._lives(self._process, now)
        was, self._health, self._gone_since = self._health, None, None
        if code is not None:
            self._process = None
            self._left(code, was)
        elif was is not None:
            # Nobody's child of ours: one that dies leaves its socket behind, one that leaves removes it.
            self._left(1 if self._socket.exists() else 0, was)
        self._leaving = 0
        if self._failed:
            return 5.0
        if not self._wanted:
            text = "The engine left after a quiet time; the next request starts it."
            self._set(EngineState("asleep", self._config.model, text))
            return 5.0
        if now < self._not_before:
            return self._not_before - now
        try:
            await asyncio.to_thread(self._spawn)
        except OSError as error:
            self._trouble(f"The engine could not be started: {error.strerror or error}.")
        return 0.05

    def _lives(self, process: subprocess.Popen[bytes], now: float) -> float:
        """Its process is there, its socket isn't: not yet, or not any more."""
        if self._health is None:
            if now - self._spawned_at > START_SECONDS:
                process.kill()
            if self.state.phase != "error":
                self._set(EngineState("starting", self._config.model, "The engine is being started."))
            return min(0.3, 0.05 + (now - self._spawned_at) / 20)
        self._gone_since = self._gone_since or now
        if now - self._gone_since > LEAVE_SECONDS:  # Somebody removed its socket: nobody can reach it again.
            process.kill()
        return 0.1

    def _left(self, code: int, was: Health | None) -> None:
        """The engine is gone: asked to, after a quiet time, or by accident."""
        if self._leaving:
            return
        if code == 0 and was is None:  # It found another one at work on the socket; ask that one.
            self._not_before = time.monotonic() + self._backoff.take()
        elif code == 0:
            self._wanted = False
        elif code == REFUSED and was is None:
            self._trouble(as_sentence(_last_line(self._log).removeprefix("codegen-lsp: ")), self._refused)
        else:
            self._wanted = not self._failed
            self._crashed(code)

    def _crashed(self, code: int) -> None:
        how = f" (signal {signal.Signals(-code).name})" if code < 0 else ""
        last = _last_line(self._log) if code > 0 else ""
        said = f' Its last words: "{last}".' if last else ""
        self._trouble(
            f"The engine stopped unexpectedly{how}.{said} It is being restarted; its log is {self._log}."
        )

    def _trouble(self, message: str, backoff: Backoff | None = None) -> None:
        self._not_before = time.monotonic() + (backoff or self._backoff).take()
        self._ready_at = None
        self._set(EngineState("error", self._config.model, message))

    def _spawn(self) -> None:
        env = dict(os.environ)
        root = str(Path(__file__).resolve().parents[3])
        if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH")]))
        if self._log.exists() and self._log.stat().st_size > MAX_LOG:
            self._log.unlink()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=runtime_dir(),
                env=env,
                start_new_session=True,
            )
        self._spawned_at = time.monotonic()

    def _kill(self, pid: int) -> None:
        """Kill an engine by its number, if that still is an engine and this user's."""
        import psutil

        if pid <= 1:
            return
        try:
            process = psutil.Process(pid)
            ours = any("codegen" in part or part == str(self._socket) for part in process.cmdline())
            if ours and process.uids().real == os.getuid():
                process.kill()
        except psutil.Error as error:
            logger.warning("the engine (process %s) could not be stopped: %s", pid, error)


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:300]
