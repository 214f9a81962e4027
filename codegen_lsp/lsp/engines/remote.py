"""A server that runs independently of this language server: watched, never started or stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from codegen_lsp.lsp.engines.backend import Backend, EngineState, Phase, as_sentence
from codegen_lsp.wire.answers import Completion, ModelInfo
from codegen_lsp.wire.client import HttpEngineClient
from codegen_lsp.wire.errors import (
    InternalError,
    OverloadedError,
    TransportError,
    UnauthorizedError,
    WireError,
)
from codegen_lsp.wire.requests import EXTENSIONS, CompletionRequest
from codegen_lsp.wire.transport.http import is_loopback

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 2.0, 60.0
READY_SECONDS = 30.0
"""Seconds between two looks at a server that is ready."""
SCORING_PROBE = CompletionRequest(("a = 1\n",), max_tokens=0, temperature=0.0, echo=True, logprobs=1)
"""A request that servers answer with the log-probabilities of its prompt, if they can."""


class RemoteBackend(Backend):
    """A completions server by its address."""

    engine: HttpEngineClient

    def __init__(
        self, url: str, token: str, timeout: float, on_change: Callable[[EngineState], None], model: str = ""
    ) -> None:
        """Prepare to watch a server; `model` is the one to request, empty for the first that the server lists.

        Raises:
            ConfigError: the address or the token can't be used.
            UnavailableError: the environment's proxies or certificates can't be used.
        """
        super().__init__(model, on_change)
        self.engine = HttpEngineClient(url=url, token=token, timeout=timeout)
        self._model = model
        self._scores: bool | None = None
        """Whether the server of another project scores prompts; None before that was tried."""
        self._retry = FIRST_RETRY_SECONDS

    async def restart(self) -> None:
        """Look again at once; the server itself can't be restarted from here."""
        self._retry = FIRST_RETRY_SECONDS
        self._nudge.set()

    async def make_room(self) -> None:
        """Do nothing: the memory is another machine's, and other users may need the model."""

    @property
    def is_remote(self) -> bool:
        """See `Backend.is_remote`; an engine of this project on this machine is the user's own."""
        return not (self.engine.extensions and is_loopback(self.engine.address))

    def failed(self, error: WireError) -> None:
        """Look at the server, if the error says something about its state; show which limit was met until then."""
        super().failed(error)
        if isinstance(error, OverloadedError) and self.state.phase is Phase.READY:
            self._set(replace(self.state, message=as_sentence(error)))

    async def can_score(self) -> bool:
        """See `Backend.can_score`; a server of another project is asked once."""
        if self.engine.extensions:
            return True
        if self._scores is None:
            try:
                self._scores = _is_scored(await self.engine.complete(SCORING_PROBE))
            except TransportError:
                return False  # That says nothing about what the server can do.
            except WireError:
                self._scores = False
        return self._scores

    async def _step(self) -> float:
        try:
            return await self._look()
        except UnauthorizedError:
            return self._trouble(f"The server at {self.engine.address} refuses the token; set codegen.token.")
        except TransportError as error:
            return self._trouble(f"{as_sentence(error)} Is the server at {self.engine.address} running?")
        except WireError as error:
            return self._trouble(
                f"The server at {self.engine.address} answers with an error: {as_sentence(error)}"
            )

    async def _look(self) -> float:
        health = await self.engine.health()
        if health.state == "loading":
            text = health.message or f"The server at {self.engine.address} is loading its model."
            self._set(EngineState(Phase.LOADING, health.model, text, health.done, health.total))
            return 1.0
        if health.state == "error":
            raise InternalError(f"its model could not be loaded: {health.message}")
        if self.state.phase != Phase.READY:
            await self._learn_model()
        self._retry = FIRST_RETRY_SECONDS
        name = self.info.id or "The server"
        self._set(EngineState(Phase.READY, self.info.id, f"{name} at {self.engine.address} is ready."))
        return READY_SECONDS

    async def _learn_model(self) -> None:
        """Learn the model to request. A server without a list of models chooses itself, unless the user did."""
        self.engine.model = self._model
        models = await self.engine.models()
        wanted = self._model or (models[0].id if models else "")
        listed = next((model for model in models if model.id == wanted), ModelInfo(wanted))
        self.info = self._trusted(listed)
        self.engine.model = wanted
        self.engine.extensions = set(EXTENSIONS) <= set(listed.extensions)

    def _trouble(self, message: str) -> float:
        self._set(EngineState(Phase.ERROR, self._model, message))
        self._retry = min(self._retry * 2, LONGEST_RETRY_SECONDS)
        return self._retry


def _is_scored(answer: Completion) -> bool:
    """Return whether the answer to `SCORING_PROBE` holds the log-probabilities of the prompt."""
    logprobs = answer.choices[0].logprobs if answer.choices else None
    if logprobs is None or len(logprobs.text_offset) != len(logprobs.token_logprobs):
        return False
    return sum(number is not None for number in logprobs.token_logprobs) >= 2
