"""Fill in lines: with the language server's own pipeline, and with the model alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Literal

from codegen_lsp.evals.benchmarks.infilling.tasks import InfillingSettings, Kind, Task
from codegen_lsp.evals.harness.retrying_client import RetryingClient
from codegen_lsp.lsp.engines.backend import CONTEXT, Backend, EngineState, Phase
from codegen_lsp.lsp.options.options import Options
from codegen_lsp.lsp.suggest.pipeline import Pipeline
from codegen_lsp.lsp.suggest.request_log import Outcome
from codegen_lsp.lsp.suggest.suggestion_cache import SuggestionCache
from codegen_lsp.wire.answers import ModelInfo
from codegen_lsp.wire.client import EngineClient
from codegen_lsp.wire.errors import RequestError, WireError, is_too_long
from codegen_lsp.wire.fill.formats import FillMode
from codegen_lsp.wire.requests import CompletionRequest

SCORING_SECONDS = (600.0, 600.0)
"""Time limits of the ranking's second request: an evaluation waits for it, however busy the machine is."""

MULTILINE: dict[Kind, Literal["never", "auto", "always"]] = {
    "line": "never",
    "lines": "always",
    "span": "auto",
}
"""The option `multiline` for what was removed."""

_errors: ContextVar[list[WireError]] = ContextVar("errors")
"""Errors of the engine during the current call of the pipeline, which itself only gives reasons."""


class ReadyBackend(Backend):
    """An engine that is ready and needs no watching: the evaluation waits for it and retries by itself."""

    def __init__(self, engine: EngineClient, info: ModelInfo) -> None:
        super().__init__(info.id, lambda _: None)
        self.engine = engine
        self.info = replace(info, max_model_len=info.max_model_len or CONTEXT)
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
        self.fills = info.fill is not None and info.fill.fills
        """Whether the model reads the text after the cursor."""
        backend = ReadyBackend(engine, info)
        options = Options(
            candidates=settings.rows,
            max_tokens_line=settings.max_tokens,
            debounce=0,
        )

        def pipeline(kind: Kind, fill: FillMode) -> Pipeline:
            chosen = replace(options, multiline=MULTILINE[kind], fill_in_the_middle=fill)
            if kind != "line":
                chosen = replace(chosen, max_tokens_block=settings.max_tokens)
            return Pipeline(backend, chosen, SuggestionCache(0), scoring_seconds=SCORING_SECONDS)

        modes: tuple[FillMode, ...] = ("auto", "never")
        self._pipelines = {(kind, fill): pipeline(kind, fill) for kind in MULTILINE for fill in modes}

    async def aclose(self) -> None:
        """Stop the pipelines' work; the engine's connections stay open."""
        for pipeline in self._pipelines.values():
            await pipeline.aclose()

    async def raw(self, task: Task) -> str:
        """Return what the model writes greedily after the prefix: the first line with text, or up to the suffix."""
        request = CompletionRequest(
            prompts=(task.prefix,), max_tokens=self._max_tokens, temperature=0.0, stop=("\n\n\n",)
        )
        over = _has_line if task.kind == "line" else None
        text = await self._client.continuation(request, over)
        if task.kind == "line":
            return task.first(text)
        following = next((line for line in task.after.split("\n") if line.strip()), "")
        return text.partition(following)[0].rstrip("\n") if following else text

    async def fill(self, task: Task) -> str:
        """Return what the model writes greedily between the prefix and the suffix."""
        request = CompletionRequest(
            prompts=(task.prefix,), suffix=task.after, max_tokens=self._max_tokens, temperature=0.0
        )
        return task.first(
            await self._client.continuation(request, _has_line if task.kind == "line" else None)
        )

    async def server(self, task: Task) -> list[dict[str, Any]]:
        """Return the language server's rows in the order of decoding, each with its place among the suggestions.

        Raises:
            WireError: the engine refuses, or does not recover.
        """
        return await self._rows_of(task, "auto")

    async def left_to_right(self, task: Task) -> list[dict[str, Any]]:
        """Return the rows of a language server that doesn't fill in the middle; raises as `server` does."""
        return await self._rows_of(task, "never")

    async def _rows_of(self, task: Task, fill: FillMode) -> list[dict[str, Any]]:
        try:
            outcome = await self._client.patiently(lambda: self._suggest(task, fill))
        except RequestError as error:
            if is_too_long(error):
                return []
            raise
        return _rows(outcome)

    async def _suggest(self, task: Task, fill: FillMode) -> Outcome:
        errors: list[WireError] = []
        token = _errors.set(errors)
        try:
            outcome = await self._pipelines[task.kind, fill].suggest(task.cursor(), invoked=True)
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
