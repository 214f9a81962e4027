"""Complete lines with the language server's pipeline, with and without what other files say."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from codegen_lsp.evals.benchmarks.crossfile.tasks import CrossfileTask
from codegen_lsp.evals.benchmarks.infilling.filling import SCORING_SECONDS, ReadyBackend
from codegen_lsp.evals.harness.retrying_client import RetryingClient
from codegen_lsp.lsp.context.files import BoundedReading, ReadingLimits, WorkspaceFiles
from codegen_lsp.lsp.context.gathering import gather
from codegen_lsp.lsp.context.snapshot import DocumentSnapshot
from codegen_lsp.lsp.options.options import Options
from codegen_lsp.lsp.prompts.others import NO_FILES, OtherFiles
from codegen_lsp.lsp.suggest.pipeline import Pipeline
from codegen_lsp.lsp.suggest.suggestion_cache import SuggestionCache
from codegen_lsp.wire.answers import ModelInfo
from codegen_lsp.wire.client import EngineClient
from codegen_lsp.wire.errors import WireError

_PATIENT = ReadingLimits(seconds=30.0, wall_seconds=600.0)
"""Limits of an evaluation: on a busy machine it waits longer for the files than an editor would."""


class _RaisingBackend(ReadyBackend):
    """A ready engine whose last error the evaluation raises, to try again."""

    error: WireError | None = None

    def __init__(self, engine: EngineClient, info: ModelInfo) -> None:
        super().__init__(engine, info)
        self.info = replace(self.info, fill=info.fill)

    def failed(self, error: WireError) -> None:
        """Keep the error."""
        self.error = error


@dataclass(frozen=True)
class Gathered:
    """The pieces of other files for a task, by the way they were found, and how long that took."""

    others: Mapping[str, OtherFiles]
    ms: float


class LineCompleter:
    """Completes the lines of tasks, one after another."""

    def __init__(
        self, client: RetryingClient, engine: EngineClient, info: ModelInfo, share: float = 0.25
    ) -> None:
        """Complete with `engine`; `client` repeats failed requests."""
        self._client = client
        self._backend = _RaisingBackend(engine, info)
        self._others = NO_FILES
        options = Options(
            multiline="never",
            debounce=0,
            warm=False,
            other_files_share=share,
        )
        self._pipeline = Pipeline(
            self._backend,
            options,
            SuggestionCache(0),
            other_files=lambda _: self._others,
            scoring_seconds=SCORING_SECONDS,
        )
        self._files: dict[str, WorkspaceFiles] = {}

    async def aclose(self) -> None:
        """Stop the pipeline's work; the engine's connections stay open."""
        await self._pipeline.aclose()

    def gather(self, task: CrossfileTask) -> Gathered:
        """Return what other files say about a task."""
        root = str(task.root)
        files = self._files.setdefault(root, WorkspaceFiles([root]))
        text = task.prefix + task.suffix
        snapshot = DocumentSnapshot(str(task.path), "python", text, task.line, task.open_files)
        own = gather(snapshot, BoundedReading(files, limits=_PATIENT), imports=False)
        started = time.perf_counter()
        imports = gather(snapshot, BoundedReading(files, limits=_PATIENT))
        ms = 1e3 * (time.perf_counter() - started)
        both = replace(
            gather(snapshot, BoundedReading(files, limits=_PATIENT), similar=True), names=imports.names
        )
        ways = {
            "none": own,
            "names": replace(imports, pieces=()),
            "imports": imports,
            "similar": replace(both, pieces=both.pieces[len(imports.pieces) :]),
            "both": both,
        }
        return Gathered(ways, ms)

    async def complete(self, task: CrossfileTask, others: OtherFiles) -> dict[str, Any]:
        """Return the first suggestion's line, with its milliseconds and the tokens of other files.

        Raises:
            WireError: the engine refuses, or does not recover.
        """
        return await self._client.patiently(lambda: self._suggest(task, others))

    async def _suggest(self, task: CrossfileTask, others: OtherFiles) -> dict[str, Any]:
        self._others, self._backend.error = others, None
        started = time.perf_counter()
        outcome = await self._pipeline.suggest(task.cursor(), invoked=True)
        ms = 1e3 * (time.perf_counter() - started)
        if self._backend.error is not None:
            raise self._backend.error
        text = outcome.ranked[0].candidate.text if outcome.ranked else ""
        pieces = outcome.prompt.pieces if outcome.prompt is not None else ()
        return {
            "line": text.split("\n")[0],
            "ms": round(ms, 1),
            "tokens": sum(piece.tokens for piece in pieces),
            "pieces": len(pieces),
        }
