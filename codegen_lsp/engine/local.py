"""The engine without a server: load a model into this process, answer one request.

Knows how the parts fit together. Imports torch.
"""

from __future__ import annotations

import time

from codegen_lsp import wire
from codegen_lsp.engine import checkpoints
from codegen_lsp.engine.checkpoints import Progress as Report
from codegen_lsp.engine.config import EngineConfig
from codegen_lsp.engine.generate import Progress, generate, prepare
from codegen_lsp.engine.model import load


def complete(
    config: EngineConfig, request: wire.CompletionRequest, report: Report | None = None
) -> wire.Completion:
    """The answer to one request.

    Raises:
        CheckpointError: the model can't be loaded.
        RequestError: the request can't be done with it.
    """
    model = load(config, checkpoints.of(config), report)
    progress = Progress()
    choices: list[wire.Choice] = []
    prompts = prepare(model, request)
    for _ in generate(model, None, request, prompts, choices.extend, progress, config.prefill_chunk):
        pass
    created = int(time.time())
    chunks = [wire.Completion("local", model.name, created, (choice,)) for choice in choices]
    usage = wire.Usage(progress.prompt_tokens, progress.completion_tokens, progress.cached_tokens)
    chunks.append(wire.Completion("local", model.name, created, (), usage, progress.timings))
    return wire.join_chunks(chunks)
