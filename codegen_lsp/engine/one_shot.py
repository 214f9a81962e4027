"""The engine without a server: load a model into this process, answer one request.

Knows how the parts fit together. Imports torch.
"""

from __future__ import annotations

import time

from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.checkpoints.locate import LoadReport as Report
from codegen_lsp.engine.decode.generate import DecodeProgress, generate, prepare
from codegen_lsp.engine.model.model import load
from codegen_lsp.wire.answers import Choice, Completion, Usage, join_chunks
from codegen_lsp.wire.config import EngineConfig
from codegen_lsp.wire.requests import CompletionRequest


def complete(config: EngineConfig, request: CompletionRequest, report: Report | None = None) -> Completion:
    """The answer to one request.

    Raises:
        CheckpointError: the model can't be loaded.
        RequestError: the request can't be done with it.
    """
    model = load(config, locate.of(config), report)
    progress = DecodeProgress()
    choices: list[Choice] = []
    prompts = prepare(model, request)
    for _ in generate(model, None, request, prompts, choices.extend, progress, config.prefill_chunk):
        pass
    created = int(time.time())
    chunks = [Completion("local", model.name, created, (choice,)) for choice in choices]
    usage = Usage(progress.prompt_tokens, progress.completion_tokens, progress.cached_tokens)
    chunks.append(Completion("local", model.name, created, (), usage, progress.timings))
    return join_chunks(chunks)
