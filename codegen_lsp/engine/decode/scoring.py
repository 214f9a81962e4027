"""Score prompts with a common prefix together (`echo` without decoding): read the prefix once, the ends as a batch."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence

import torch

from codegen_lsp.engine.decode.echo import Echo
from codegen_lsp.engine.decode.generation import Generation, prefill, restored
from codegen_lsp.engine.decode.progress import Planned, Step, Steps
from codegen_lsp.engine.decode.prompts import PreparedPrompt
from codegen_lsp.engine.model.kv_store import KVStore
from codegen_lsp.engine.model.live import common_length
from codegen_lsp.engine.model.passes import Pass


def score_together(
    generation: Generation, prompts: Sequence[PreparedPrompt]
) -> Generator[Planned | Step, torch.Tensor, bool]:
    """Echo prompts with their log-probabilities: read their common prefix once, and the ends as rows of a batch.

    Returns false, with nothing read, for prompts that have little in common or long ends.
    """
    reading, request = generation.reading, generation.request
    model, progress = reading.model, reading.progress
    echoes = [Echo(model, request, prompt) for prompt in prompts]
    first, *others = (prompt.tokens for prompt in prompts)
    shared = min(common_length(first, tokens) for tokens in others)
    # At least one token of each prompt is left to read, and everything that is scored.
    shared = min(shared, *(min(len(echo.tokens) - 1, echo.read_from) for echo in echoes))
    ends = [prompt.tokens[shared:] for prompt in prompts]
    if shared < 1 or max(map(len, ends)) > reading.chunk // 2:
        return False
    started = time.perf_counter()
    progress.prompt_tokens += sum(len(prompt.tokens) for prompt in prompts)
    kv = restored(generation, prompts[0].tokens[:shared], None)
    try:
        yield from prefill(generation, prompts[0].tokens[:shared], None, kv)
        progress.cached_tokens += shared * (len(prompts) - 1)
        for batch in _batches(ends, reading.chunk):
            yield from _score_batch(generation, kv, [ends[i] for i in batch], [echoes[i] for i in batch])
    finally:
        reading.release(kv)
    progress.timings["prefill_ms"] += (time.perf_counter() - started) * 1000
    for number, (prompt, echo) in enumerate(zip(prompts, echoes, strict=True)):
        generation.deliver(generation.rows(prompt, number * request.n, echo))
    return True


def _score_batch(
    generation: Generation, kv: KVStore, ends: Sequence[tuple[int, ...]], echoes: Sequence[Echo]
) -> Steps:
    """Read the ends of some prompts as rows of one batch, after the prefix in `kv` that they share."""
    reading = generation.reading
    shared, longest = kv.length, max(map(len, ends))
    # Attention is causal: the padding after a shorter row changes nothing before it.
    tokens = torch.tensor([[*end, *[0] * (longest - len(end))] for end in ends])
    low = min(longest - 1, *(echo.read_from - shared for echo in echoes))
    part = Pass(tokens, kv.fork(len(ends), longest), torch.arange(low, longest))
    logits = yield Planned("prefill", part)
    for row, (end, echo) in enumerate(zip(ends, echoes, strict=True)):
        echo.take(shared + len(end), logits[row, : len(end) - low])
    reading.progress.prefilled_tokens += sum(map(len, ends))


def _batches(ends: Sequence[Sequence[int]], tokens: int) -> Iterator[list[int]]:
    """Group the indices of rows into batches of at most `tokens` tokens, padding included."""
    batch: list[int] = []
    longest = 0
    for number, end in enumerate(ends):
        longest = max(longest, len(end))
        if batch and longest * (len(batch) + 1) > tokens:
            yield batch
            batch, longest = [], len(end)
        batch.append(number)
    yield batch
