"""Fill in lines: with the language server's own pipeline, and with the model alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from codegen_lsp.evals.benchmarks.infilling.tasks import InfillingSettings, Task
from codegen_lsp.evals.harness.retrying_client import RetryingClient
from codegen_lsp.lsp.engines.backend import CONTEXT, Backend, EngineState, Phase
from codegen_lsp.lsp.options import Options
from codegen_lsp.lsp.suggest.pipeline import Pipeline
from codegen_lsp.lsp.suggest.request_log import Outcome
from codegen_lsp.lsp.suggest.suggestion_cache import SuggestionCache
from codegen_lsp.wire.answers import ModelInfo
from codegen_lsp.wire.client import EngineClient
from codegen_lsp.wire.errors import RequestError, WireError, is_too_long
from codegen_lsp.wire.requests import CompletionRequest

SCORING_SECONDS = (600.0, 600.0)
"""Time limits of the ranking's second request: an evaluation waits for it, however busy the machine is."""

_errors: ContextVar[list[WireError]] = ContextVar("errors")
"""Errors of the engine during the current call of the pipeline, which itself only gives reasons."""


class ReadyBackend(Backend):
    """An engine that is ready and needs no watching: the evaluation waits for it and retries by itself."""

    def __init__(self, engine: EngineClient, info: ModelInfo) -> None:
        super().__init__(info.id, lambda _: None)
        self.engine = engine
        context = info.max_model_len or CONTEXT
        self.info = ModelInfo(info.id, context, info.tokenizer_file, info.extensions)
        self.state = EngineState(Phase.READY, info.id)

    def failed(self, error: WireError) -> None:
        """Keep the error, so that the evaluation can retry or raise it."""
        _errors.get().append(error)

    async def restart(self) -> None:
        """Do nothing: the engine is not this evaluation's to restart."""

    async def make_room(self) -> None:
        """Do nothing: no other model is wanted."""

    async def _step(self) -> float:
        return 3600.0


class Filler:
    """Fills lines with the pipeline that editors get suggestions from, and with the model alone."""

    def __init__(
        self, client: RetryingClient, engine: EngineClient, info: ModelInfo, settings: InfillingSettings
    ) -> None:
        """Ask `engine`; `client` is the patient way to the same engine."""
        self._client = client
        self._max_tokens = settings.max_tokens
        options = Options(
            candidates=settings.rows, max_tokens_line=settings.max_tokens, multiline="never", debounce=0
        )
        self._pipeline = Pipeline(
            ReadyBackend(engine, info), options, SuggestionCache(0), scoring_seconds=SCORING_SECONDS
        )

    async def aclose(self) -> None:
        """Stop the pipeline's work; the engine's connections stay open."""
        await self._pipeline.aclose()

    async def raw(self, task: Task) -> str:
        """Return the first line that is not blank of what the model writes greedily after the prefix."""
        request = CompletionRequest(
            prompts=(task.prefix,), max_tokens=self._max_tokens, temperature=0.0, stop=("\n\n\n",)
        )
        text = await self._client.continuation(request, _has_line)
        return next((line for line in text.split("\n") if line.strip()), "")

    async def server(self, task: Task) -> list[dict[str, Any]]:
        """Return the language server's rows in the order of decoding, each with its place among the suggestions.

        Raises:
            WireError: the engine refuses, or does not recover.
        """
        try:
            outcome = await self._client.patiently(lambda: self._suggest(task))
        except RequestError as error:
            if is_too_long(error):
                return []
            raise
        return _rows(outcome)

    async def _suggest(self, task: Task) -> Outcome:
        errors: list[WireError] = []
        token = _errors.set(errors)
        try:
            outcome = await self._pipeline.suggest(task.cursor(), invoked=True)
        finally:
            _errors.reset(token)
        if errors:
            raise errors[0]
        return outcome


def _has_line(text: str) -> bool:
    """Return whether a text holds a complete line that is not blank."""
    return any(line.strip() for line in text.split("\n")[:-1])


def _rows(outcome: Outcome) -> list[dict[str, Any]]:
    places = {id(ranked.candidate): place for place, ranked in enumerate(outcome.ranked)}
    parts: Sequence[dict[str, float]] = [dict(ranked.parts) for ranked in outcome.ranked]
    rows = []
    for number, verdict in enumerate(outcome.verdicts):
        candidate = verdict.candidate
        place = places.get(id(candidate))
        rows.append(
            {
                "text": candidate.text,
                "row": number,
                "place": place,
                "reason": str(verdict.reason) if verdict.reason else None,
                "mean_logprob": candidate.mean_logprob,
                "suffix_logprob": candidate.suffix_logprob,
                "parts": parts[place] if place is not None else {},
            }
        )
    return rows
