"""What the server knows of its engine, wherever that runs: a state, a model, and a way to ask.

Knows how an engine's state is watched and told of. Who starts an engine is `supervisor`'s affair; a server
elsewhere is watched by `RemoteBackend`. Knows no documents and no LSP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.wire.answers import ModelInfo
from codegen_lsp.wire.client import EngineClient, HttpEngineClient, TransportError
from codegen_lsp.wire.errors import InternalError, NotReadyError, UnauthorizedError, WireError
from codegen_lsp.wire.requests import EXTENSIONS

logger = logging.getLogger(__name__)

Phase = Literal["starting", "loading", "ready", "asleep", "error"]

CONTEXT = 2048
"""Tokens of context of a server that doesn't say: CodeGen's."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """Where an engine stands."""

    phase: Phase = "starting"
    """`asleep`: it left, or freed its model, after a quiet time; the next request wakes it."""
    model: str = ""
    message: str = ""
    """A sentence for a person."""
    done: int = 0
    total: int = 0

    @property
    def percent(self) -> int | None:
        """How far the load is, None where that isn't known."""
        return min(100, 100 * self.done // self.total) if self.total > 0 else None


class Backend(ABC):
    """An engine under watch. `start` and `aclose` bound the life of its watching task."""

    engine: EngineClient

    def __init__(self, model: str, on_change: Callable[[EngineState], None]) -> None:
        self.state = EngineState("starting", model, "The engine is being started.")
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
        """Free the memory of this machine that the model takes, for the one that is wanted instead."""

    async def aclose(self) -> None:
        """Stop watching and close the connections; the engine itself is left alone."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.engine.aclose()

    async def acquire(self, patience: float = 0.0) -> Reason | None:
        """None if the engine may be asked now, else why not. Wakes an engine that sleeps.

        Waits at most `patience` seconds for one that slept; a first load is never waited for.
        """
        if self.state.phase != "asleep":
            patience = 0.0
        if self.state.phase != "ready":
            self._wake()
        deadline = asyncio.get_running_loop().time() + patience
        while self.state.phase in ("starting", "loading", "asleep"):
            self._changed.clear()
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                return Reason.LOADING if self.state.phase == "loading" else Reason.STARTING
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(remaining):
                    await self._changed.wait()
        return None if self.state.phase == "ready" else Reason.UNAVAILABLE

    def failed(self, error: WireError) -> None:
        """A request failed in a way that says something about the engine: look at once."""
        if isinstance(error, TransportError | NotReadyError | UnauthorizedError):
            self._nudge.set()

    def look(self) -> None:
        """Look at the engine now rather than at the next regular time."""
        self._nudge.set()

    @abstractmethod
    async def restart(self) -> None:
        """Start afresh after an error, or because the user says so."""

    def _wake(self) -> None:
        self._nudge.set()

    @abstractmethod
    async def _step(self) -> float:
        """Look once; gives the seconds until the next look."""

    async def _watch(self) -> None:
        while True:
            try:
                delay = await self._step()
            except Exception:  # Whatever breaks here must not end the watch: it ends only with the server.
                logger.exception("watching the engine failed")
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
            found = models[0]
            context = found.max_model_len or CONTEXT
            self.info = ModelInfo(found.id, context, found.tokenizer_file, found.extensions)
            self.engine.extensions = set(EXTENSIONS) <= set(found.extensions)


class RemoteBackend(Backend):
    """A server that somebody else runs: watched, never started or stopped."""

    def __init__(
        self, url: str, token: str, timeout: float, on_change: Callable[[EngineState], None], model: str = ""
    ) -> None:
        super().__init__(model, on_change)
        self.engine = HttpEngineClient(url=url, token=token, timeout=timeout)
        self._url = url
        self._model = model
        self._quiet = 2.0

    async def restart(self) -> None:
        """Look again at once; the server is not ours to restart."""
        self._quiet = 2.0
        self._nudge.set()

    async def make_room(self) -> None:
        """Nothing: the memory is another machine's, and others may be using the model."""

    async def _step(self) -> float:
        try:
            health = await self.engine.health()
            if health.state == "loading":
                text = health.message or f"The server at {self._url} is loading its model."
                self._set(EngineState("loading", health.model, text, health.done, health.total))
                return 1.0
            if health.state == "error":
                raise InternalError(f"its model could not be loaded: {health.message}")
            if self.state.phase != "ready":
                await self._learn_model()
        except UnauthorizedError:
            return self._trouble(f"The server at {self._url} refuses the token; set codegen.token.")
        except TransportError as error:
            return self._trouble(f"{as_sentence(error)} Is the server at {self._url} running?")
        except WireError as error:
            return self._trouble(f"The server at {self._url} answers with an error: {as_sentence(error)}")
        self._quiet = 2.0
        self._set(EngineState("ready", self.info.id, f"{self.info.id} at {self._url} is ready."))
        return 30.0

    def _trouble(self, message: str) -> float:
        self._set(EngineState("error", self._model, message))
        self._quiet = min(self._quiet * 2, 60.0)
        return self._quiet


def as_sentence(message: object) -> str:
    """An error's message as a sentence of its own. One that begins with a path, a name or a quote stays as it is."""
    text = str(message).strip().rstrip(".")
    first = text.partition(" ")[0]
    return (text[:1].upper() + text[1:] if first.isalpha() else text) + (
        "" if text.endswith(("?", "!")) else "."
    )
