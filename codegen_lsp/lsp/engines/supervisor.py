"""Finds this user's engine for a configuration, starts it if there is none, watches it and restarts it.

Knows sockets and waiting times. An engine outlives the language server that started it, so that editors share it;
it leaves by itself after an idle time. Two language servers that start at once both start an engine: the engine's
own lock lets one of them win, and both find it. Processes are `process`'s duty.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from codegen_lsp.lsp.engines.backend import Backend, EngineState, Phase, as_sentence
from codegen_lsp.lsp.engines.backoff import Backoff
from codegen_lsp.lsp.engines.process import REFUSED, EngineProcess
from codegen_lsp.wire.answers import Health, ModelInfo
from codegen_lsp.wire.client import HttpEngineClient
from codegen_lsp.wire.config import EngineConfig
from codegen_lsp.wire.errors import (
    TimedOutError,
    TransportError,
    UnauthorizedError,
    UnavailableError,
    WireError,
)
from codegen_lsp.wire.requests import CompletionRequest

logger = logging.getLogger(__name__)

HUNG_SECONDS = 30.0
"""An engine that accepts connections and does not answer is killed after this many seconds."""
START_SECONDS = 180.0
"""A process that has not opened its socket is killed after this many seconds."""
STABLE_SECONDS = 30.0
"""An engine that was ready for this many seconds gets a fresh backoff when it crashes."""
LEAVE_SECONDS = 10.0
"""An engine that was asked to leave is killed if it still runs after this many seconds."""
REFUSED_SECONDS = (30.0, 600.0)
"""First and longest waiting time after an engine refused its configuration, which only the user can change."""
WATCH_SECONDS = 2.0
"""Seconds between two looks at an engine that answers."""
ABSENT_SECONDS = 5.0
"""Seconds between two looks for an engine that need not run."""


class Supervisor(Backend):
    """The local engine of one configuration."""

    engine: HttpEngineClient

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
            ConfigError: no private folder is available for the socket.
        """
        super().__init__(config.model, on_change)
        self._model = config.model
        self._process = EngineProcess(config, idle_timeout=idle_timeout, command=command)
        self.engine = HttpEngineClient(socket=self._process.socket, timeout=timeout)
        self._crashes = Backoff()
        self._refusals = Backoff(*REFUSED_SECONDS)
        self._start_at = 0.0
        """When the next start is due; infinite after a failed load, which only the user can mend."""
        self._wake_requested = False
        """Whether a request waits for an engine that is asleep."""
        self._health: Health | None = None
        """The last health of the running engine; None while none runs."""
        self._leaving = 0
        """The process number of an engine that was asked to leave for a restart."""
        self._leave_by = 0.0
        self._ready_since = math.inf
        self._silent_since: float | None = None
        """Since when the engine accepts connections and does not answer."""
        self._lost_since: float | None = None
        """Since when an engine that was up can't be reached, although its process runs."""

    async def restart(self) -> None:
        """Stop the engine, hung or not, and start a new one at once."""
        pid = self._health.pid if self._health else 0
        try:
            await self.engine.shutdown()
        except TransportError:
            self._process.kill_number(pid)
        except WireError as error:
            logger.warning("the engine refused to leave: %s", error)
        self._leaving = pid
        self._leave_by = time.monotonic() + LEAVE_SECONDS
        self._start_at = 0.0
        self._crashes.reset()
        self._refusals.reset()
        self._enter(Phase.STARTING, "The engine is being restarted.")
        self._nudge.set()

    async def make_room(self) -> None:
        """Unload the model, so that the next model finds its memory free."""
        try:
            async with asyncio.timeout(2):
                await self.engine.unload()
        except (WireError, TimeoutError) as error:
            logger.info("the previous engine could not be unloaded: %s", error)

    async def aclose(self) -> None:
        """Stop watching. The engine keeps running for other editors."""
        await super().aclose()
        self._process.release()

    # Transitions -------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, message: str, *, model: str = "", done: int = 0, total: int = 0) -> None:
        """Enter a phase: the one place where the state changes, with what every entry brings along.

        READY forgets earlier refusals and starts the clock of stability; ERROR stops that clock; a request that
        waits for a sleeping engine waits until READY or ERROR.
        """
        if phase is Phase.READY:
            self._refusals.reset()
            if self.state.phase is not Phase.READY:
                self._ready_since = time.monotonic()
        elif phase is Phase.ERROR:
            self._ready_since = math.inf
        if phase in (Phase.READY, Phase.ERROR):
            self._wake_requested = False
        self._set(EngineState(phase, model or self._model, message, done, total))

    def _retry_after(self, seconds: float, message: str) -> None:
        """Report an error and start the engine again after a while."""
        self._start_at = time.monotonic() + seconds
        self._enter(Phase.ERROR, message)

    # Looks -------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self.state.phase is Phase.ASLEEP:
            self._wake_requested = True
            self._nudge.set()

    async def _step(self) -> float:
        try:
            # A connection that is still open would hide that no other can be made.
            if not self._process.socket.exists():
                raise UnavailableError(f"there is no socket {self._process.socket}")
            health = await self.engine.health()
            self._silent_since = self._lost_since = None
            return await self._on_health(health)
        except TimedOutError:
            return self._on_silence()
        except UnauthorizedError:
            return self._on_stranger()
        except TransportError:
            self._silent_since = None
            return await self._on_absence()
        except WireError as error:  # The engine can't even report its health and its model.
            logger.warning("the engine's health: %s", error)
            return self._on_silence()

    async def _on_health(self, health: Health) -> float:
        if self._leaving and health.pid == self._leaving:
            if time.monotonic() > self._leave_by:
                self._process.kill_number(health.pid)
            return 0.1
        self._leaving = 0
        previous, self._health = self._health, health
        if self._was_replaced(previous, health):
            self._enter(Phase.ERROR, f"The engine stopped unexpectedly. {self._restart_message}")
            return 0.1
        model = health.model or self._model
        match health.state:
            case "loading":
                text = health.message or f"Loading {model}."
                self._enter(Phase.LOADING, text, model=model, done=health.done, total=health.total)
                return 0.1
            case "error":
                self._start_at = math.inf
                text = as_sentence(health.message or f"{model} could not be loaded")
                self._enter(Phase.ERROR, text, model=model)
                return WATCH_SECONDS
            case "unloaded":
                return await self._on_unloaded(model)
        return await self._on_ready(model)

    def _was_replaced(self, previous: Health | None, health: Health) -> bool:
        """Return whether the process that was started here had to replace an engine that was ready."""
        replaced = previous is not None and previous.pid != health.pid and self._process.is_running
        return replaced and self.state.phase is Phase.READY

    async def _on_unloaded(self, model: str) -> float:
        if self._wake_requested:
            # Only a request for text brings the model back; this one asks for no text.
            with contextlib.suppress(WireError):
                await self.engine.complete(CompletionRequest(prompts=("\n",), max_tokens=0))
            self._wake_requested = False
            return 0.05
        self._enter(Phase.ASLEEP, f"{model} is unloaded; the next request loads it.", model=model)
        return WATCH_SECONDS

    async def _on_ready(self, model: str) -> float:
        if self.state.phase is not Phase.READY:
            await self._learn_model()
        elif time.monotonic() - self._ready_since > STABLE_SECONDS:
            self._crashes.reset()
        self._start_at = 0.0
        self._enter(Phase.READY, f"{model} is ready.", model=model)
        return WATCH_SECONDS

    def _on_silence(self) -> float:
        """Kill an engine that accepts connections and does not answer for too long."""
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if now - self._silent_since > HUNG_SECONDS and self._health is not None:
            self._process.kill_number(self._health.pid)
            self._silent_since = None
            self._retry_after(
                self._crashes.take(),
                "The engine stopped answering and was stopped; a new one is being started.",
            )
        return 1.0

    def _on_stranger(self) -> float:
        """Report an engine that asks for a token, as those that this language server starts never do."""
        self._enter(
            Phase.ERROR,
            f"The engine at {self._process.socket} asks for a token, so it was not started by an editor; "
            "end that process, and a new engine is started.",
        )
        return WATCH_SECONDS

    async def _on_absence(self) -> float:
        """Report why there is no engine, and start one if one is wanted and it is time."""
        if self._process.is_running:
            return self._on_unreachable_process()
        was_up, self._health, self._lost_since = self._health is not None, None, None
        code = self._process.take_exit_code()
        if code is not None:
            self._on_exit(code, was_up)
        elif was_up:
            # Not our child process, so there is no exit code: a crash leaves the socket behind, a clean exit
            # removes it.
            self._on_exit(1 if self._process.socket.exists() else 0, was_up)
        self._leaving = 0
        if math.isinf(self._start_at):
            return ABSENT_SECONDS
        if self.state.phase is Phase.ASLEEP and not self._wake_requested:
            self._enter(Phase.ASLEEP, "The engine left after an idle time; the next request starts it.")
            return ABSENT_SECONDS
        wait = self._start_at - time.monotonic()
        if wait > 0:
            return wait
        return await self._start_process()

    async def _start_process(self) -> float:
        try:
            await asyncio.to_thread(self._process.start)
        except (OSError, ValueError) as error:  # ValueError: an argument that no process can be given.
            why = getattr(error, "strerror", None) or error
            self._retry_after(self._crashes.take(), as_sentence(f"The engine could not be started: {why}"))
        return 0.05

    def _on_unreachable_process(self) -> float:
        """Wait for the socket of a process that runs: it is not open yet, or it was removed."""
        if self._health is None:
            if self._process.age > START_SECONDS:
                self._process.kill()
            if self.state.phase is not Phase.ERROR:
                self._enter(Phase.STARTING, "The engine is being started.")
            return min(0.3, 0.05 + self._process.age / 20)
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        if now - self._lost_since > LEAVE_SECONDS:  # Its socket was removed: it can never be reached again.
            self._process.kill()
        return 0.1

    def _on_exit(self, code: int, was_up: bool) -> None:
        """Handle the end of an engine: requested, after an idle time, refused, or a crash."""
        if self._leaving:
            return
        if code == 0 and not was_up:  # It found another engine at work on the socket, which answers next.
            self._start_at = time.monotonic() + self._crashes.take()
        elif code == 0:
            if not math.isinf(self._start_at):
                self._enter(Phase.ASLEEP, "The engine left after an idle time; the next request starts it.")
        elif code == REFUSED and not was_up:
            why = as_sentence(self._process.last_words().removeprefix("codegen-lsp: "))
            self._retry_after(self._refusals.take(), why)
        elif not math.isinf(self._start_at):
            self._on_crash(code)

    def _on_crash(self, code: int) -> None:
        how = f" (signal {signal.Signals(-code).name})" if code < 0 else ""
        last = self._process.last_words() if code > 0 else ""
        quoted = f' Its last words: "{last}".' if last else ""
        message = f"The engine stopped unexpectedly{how}.{quoted} {self._restart_message}"
        self._retry_after(self._crashes.take(), message)

    @property
    def _restart_message(self) -> str:
        return f"It is being restarted; its log is {self._process.log}."

    def _trusted(self, model: ModelInfo) -> ModelInfo:
        """Believe a local engine, which this user runs, about the file of its tokenizer."""
        return replace(super()._trusted(model), tokenizer_file=model.tokenizer_file)
