"""The engine without a server: load a model into this process and answer one request. Imports torch."""

from __future__ import annotations

import time

from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.checkpoints.checkpoint import LoadReport
from codegen_lsp.engine.decode.generate import generate
from codegen_lsp.engine.decode.progress import DecodeProgress
from codegen_lsp.engine.decode.prompts import prepare
from codegen_lsp.engine.decode.reading import Reading
from codegen_lsp.engine.decode.shared import run
from codegen_lsp.engine.model.loading import load
from codegen_lsp.wire.answers import Choice, Completion, Usage, join_chunks
from codegen_lsp.wire.config import EngineConfig
from codegen_lsp.wire.requests import CompletionRequest


def complete(
    config: EngineConfig, request: CompletionRequest, report: LoadReport | None = None
) -> Completion:
    """Return the answer to one request.

    Raises:
        CheckpointError: the model can't be loaded.
        RequestError: the model can't do something in the request.
    """
    model = load(config, locate.of(config), report)
    progress = DecodeProgress()
    choices: list[Choice] = []
    reading = Reading(model, None, progress, model.prefill_chunk)
    for _ in run(model, generate(reading, request, prepare(model, request), choices.extend)):
        pass
    created = int(time.time())
    chunks = [Completion("local", model.name, created, (choice,)) for choice in choices]
    usage = Usage(progress.prompt_tokens, progress.completion_tokens, progress.cached_tokens)
    chunks.append(Completion("local", model.name, created, (), usage, progress.timings))
    return join_chunks(chunks)
