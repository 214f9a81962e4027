"""What the language server knows of its engine, wherever that runs: a state, a model, and a client.

Knows how an engine's state is watched and reported. `supervisor` starts engines on this machine, `remote` watches
a server that runs independently. Knows no documents and no LSP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.wire.answers import ModelInfo
from codegen_lsp.wire.client import EngineClient
from codegen_lsp.wire.errors import NotReadyError, TransportError, UnauthorizedError, WireError
from codegen_lsp.wire.requests import EXTENSIONS

logger = logging.getLogger(__name__)

CONTEXT = 2048
"""Context length, in tokens, of a server that does not report one: CodeGen's."""


class Phase(StrEnum):
    """Where an engine is in its life.

    ```
    STARTING ─▶ LOADING ─▶ READY ◀─▶ ASLEEP
        ▲          │         │
        └──────  ERROR ◀─────┘
    ```
    """

    STARTING = "starting"
    """The engine has not answered yet: its process is being started, or the server is being contacted."""
    LOADING = "loading"
    """The engine answers and its model is being loaded."""
    READY = "ready"
    """The model answers requests."""
    ASLEEP = "asleep"
    """The engine left, or freed its model, after an idle time; the next request wakes it."""
    ERROR = "error"
    """The engine can't be used; the message says why, and whether it is tried again."""


WAITING = frozenset({Phase.STARTING, Phase.LOADING, Phase.ASLEEP})
"""The phases from which an engine becomes ready without further action by the user."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """The phase of an engine, with what there is to say about it."""

    phase: Phase = Phase.STARTING
    model: str = ""
    message: str = ""
    """A sentence for the user."""
    done: int = 0
    """Bytes that are loaded."""
    total: int = 0
    """Bytes to load; 0 if that is not known."""

    @property
    def percent(self) -> int | None:
        """How much is loaded, None if that is not known."""
        return min(100, 100 * self.done // self.total) if self.total > 0 else None


class Backend(ABC):
    """An engine under watch. `start` and `aclose` bound the life of its watching task."""

    engine: EngineClient
    """The engine client."""

    def __init__(self, model: str, on_change: Callable[[EngineState], None]) -> None:
        self.state = EngineState(Phase.STARTING, model, "The engine is being started.")
        self.info = ModelInfo(model, CONTEXT)
        """The model that answers; known once the engine is ready."""
        self._on_change = on_change
        self._nudge = asyncio.Event()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to watch, in the running event loop."""
        self._task = asyncio.create_task(self._watch(), name="engine-watch")

    @abstractmethod
    async def make_room(self) -> None:
        """Free the memory of this machine that the model takes, because another model is wanted."""

    @abstractmethod
    async def restart(self) -> None:
        """Start afresh after an error, or because the user asks for it."""

    async def aclose(self) -> None:
        """Stop watching and close the connections; the engine itself keeps running."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.engine.aclose()

    async def acquire(self, patience: float = 0.0) -> Reason | None:
        """Return None if the engine takes requests now, otherwise the reason why not. Wakes an engine that sleeps.

        Waits up to `patience` seconds for an engine that was asleep, never for a first load.
        """
        if self.state.phase != Phase.ASLEEP:
            patience = 0.0
        if self.state.phase != Phase.READY:
            self._wake()
        deadline = asyncio.get_running_loop().time() + patience
        while self.state.phase in WAITING:
            self._changed.clear()
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                return Reason.LOADING if self.state.phase == Phase.LOADING else Reason.STARTING
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(remaining):
                    await self._changed.wait()
        return None if self.state.phase == Phase.READY else Reason.UNAVAILABLE

    @property
    def is_remote(self) -> bool:
        """Whether the engine may have other users, whose work each additional row delays."""
        return False

    async def can_score(self) -> bool:
        """Return whether the engine reports the log-probabilities of a prompt (`echo` with `logprobs`)."""
        return self.engine.extensions

    def failed(self, error: WireError) -> None:
        """Look at the engine at once if a request failed in a way that says something about its state."""
        if isinstance(error, TransportError | NotReadyError | UnauthorizedError):
            self._nudge.set()

    def look(self) -> None:
        """Look at the engine now instead of at the next regular time."""
        self._nudge.set()

    def _wake(self) -> None:
        self._nudge.set()

    @abstractmethod
    async def _step(self) -> float:
        """Look once and return the seconds until the next look."""

    async def _watch(self) -> None:
        while True:
            try:
                delay = await self._step()
            except Exception as error:  # The watch ends only with the server, whatever fails here.
                logger.exception("watching the engine failed")
                self._set(EngineState(Phase.ERROR, self.state.model, _unexpected(error)))
                delay = 5.0
            # Not wait_for: until Python 3.12 it may swallow a cancel that comes together with the nudge.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._nudge.wait()
            self._nudge.clear()

    def _set(self, state: EngineState) -> None:
        if state != self.state:
            self.state = state
            self._changed.set()
            self._on_change(state)

    async def _learn_model(self) -> None:
        models = await self.engine.models()
        if models:
            self.info = self._trusted(models[0])
            self.engine.extensions = set(EXTENSIONS) <= set(models[0].extensions)

    def _trusted(self, model: ModelInfo) -> ModelInfo:
        """Return what is believed of a model's description: nothing about files of this machine."""
        return replace(model, max_model_len=model.max_model_len or CONTEXT, tokenizer_file="")


def _unexpected(error: Exception) -> str:
    return as_sentence(f"The engine can't be watched ({type(error).__name__}: {error})")


def as_sentence(message: object) -> str:
    """Return an error's message as a sentence. A path, name or quote at its beginning stays as it is.

    `the model is missing` becomes `The model is missing.`, `/tmp/x is missing?` stays.
    """
    text = str(message).strip().rstrip(".")
    first = text.partition(" ")[0]
    capitalized = text[:1].upper() + text[1:] if first.isalpha() else text
    return capitalized + ("" if text.endswith(("?", "!")) else ".")
