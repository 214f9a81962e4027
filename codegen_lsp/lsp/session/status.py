"""What the user is told about the language server: one status, sent whenever it changes, and load progress.

Knows how the engine's state, pauses and running requests add up to a sentence. Sends through the functions that it
is given; knows no protocol objects beyond LSP's progress values.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from codegen_lsp.lsp.engines.backend import EngineState, Phase

METHOD = "didChangeStatus"
SHORT_SECONDS = 0.1
"""Requests shorter than this are not reported as busy, so that the status doesn't flicker at every keystroke."""
State = Literal["starting", "loading", "ready", "busy", "paused", "error"]
StatusKind = Literal["Normal", "Error", "Warning", "Inactive"]


@dataclass(frozen=True, slots=True)
class Status:
    """The parameters of `didChangeStatus` (Copilot's `busy`, `message`, `kind`, and more)."""

    busy: bool
    message: str
    kind: StatusKind
    state: State
    model: str
    percent: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the notification's parameters."""
        return asdict(self)


_BY_PHASE: dict[Phase, tuple[bool, StatusKind, State]] = {
    Phase.STARTING: (True, "Normal", "starting"),
    Phase.LOADING: (True, "Normal", "loading"),
    Phase.READY: (False, "Normal", "ready"),
    Phase.ASLEEP: (False, "Inactive", "ready"),
    Phase.ERROR: (False, "Error", "error"),
}


def summarize(engine: EngineState, *, running: int, paused: bool, enabled: bool) -> Status:
    """Return the status that the engine's state, running requests, pauses and settings come to."""
    if not enabled or paused:
        message = "Suggestions are paused." if enabled else "Suggestions are turned off in the settings."
        return Status(False, message, "Inactive", "paused", engine.model, None)
    if engine.phase is Phase.READY and running:
        return Status(True, engine.message, "Normal", "busy", engine.model, None)
    busy, kind, state = _BY_PHASE[engine.phase]
    percent = engine.percent if engine.phase is Phase.LOADING else None
    return Status(busy, engine.message, kind, state, engine.model, percent)


class StatusBoard:
    """Keeps the parts of the status and sends the whole when it changes. Short requests don't change it."""

    def __init__(self, send: Callable[[Status], None]) -> None:
        self._send = send
        self._sent: Status | None = None
        self._timer: asyncio.TimerHandle | None = None
        """Reports the running requests as busy, unless they end before that."""
        self.engine = EngineState()
        self.running = 0
        self.paused = False
        self.enabled = True

    @property
    def current(self) -> Status:
        """The status now."""
        return summarize(self.engine, running=self.running, paused=self.paused, enabled=self.enabled)

    def update(self, **parts: Any) -> None:
        """Change parts (`engine`, `running`, `paused`, `enabled`) and send the status if it changed."""
        for name, value in parts.items():
            setattr(self, name, value)
        if self.current.state != "busy":
            self._send_current()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SHORT_SECONDS, self._send_current)

    def _send_current(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        status = self.current
        if status != self._sent:
            self._sent = status
            self._send(status)


class LoadProgress:
    """`$/progress` of a model's load, from the engine's states."""

    def __init__(
        self,
        create: Callable[[str, Callable[[], None]], None],
        send: Callable[[str, dict[str, Any]], None],
    ) -> None:
        """`create` asks the client for a progress token and calls back once it agreed; `send` reports on it."""
        self._create, self._send = create, send
        self._token: str | None = None
        self._begun = False
        self._last: EngineState | None = None

    def update(self, state: EngineState) -> None:
        """Follow the engine: begin, report or end."""
        self._last = state
        is_loading = state.phase is Phase.LOADING
        if is_loading and self._token is None:
            token = self._token = uuid.uuid4().hex
            self._create(token, lambda: self._begin(token))
        elif is_loading and self._begun:
            self._report("report", state)
        elif not is_loading and self._token is not None:
            if self._begun:
                self._send(self._token, {"kind": "end", "message": state.message})
            self._token, self._begun = None, False

    def _begin(self, token: str) -> None:
        if token == self._token and self._last is not None:
            self._begun = True
            self._report("begin", self._last)

    def _report(self, kind: str, state: EngineState) -> None:
        value: dict[str, Any] = {"kind": kind, "message": state.message}
        if kind == "begin":
            value |= {"title": f"Loading {state.model}", "cancellable": False}
        if state.percent is not None:
            value["percentage"] = state.percent
        if self._token is not None:
            self._send(self._token, value)
