"""A request as a sequence of steps: read the prompt in chunks, once; then decode its rows as one batch.

Each item that a generator here yields is a forward pass that it needs; its logits are sent back. So the caller can take
turns among requests, make their passes together, and stop any of them between two steps. Knows no threads and no HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from codegen_lsp.engine.decode import sampling
from codegen_lsp.engine.decode.echo import Echo
from codegen_lsp.engine.decode.generation import Emit, Generation, prefill, restored
from codegen_lsp.engine.decode.progress import Planned, Steps
from codegen_lsp.engine.decode.prompts import PreparedPrompt
from codegen_lsp.engine.decode.reading import Reading, not_finite
from codegen_lsp.engine.decode.rows import Row
from codegen_lsp.engine.decode.scoring import score_together
from codegen_lsp.engine.model.kv_layout import ROOM
from codegen_lsp.engine.model.kv_store import KVStore
from codegen_lsp.engine.model.passes import Pass
from codegen_lsp.wire.requests import CompletionRequest

WARM_CHUNK = 64
"""Maximum number of tokens that a step of a background request reads: a keystroke waits for the running step."""


def generate(
    reading: Reading, request: CompletionRequest, prompts: Sequence[PreparedPrompt], emit: Emit
) -> Steps:
    """Run a completion request; each item is a forward pass that it needs.

    Raises:
        InternalError: the model computed values that are not finite.
    """
    if request.priority > 0:
        reading = replace(reading, chunk=min(reading.chunk, WARM_CHUNK))
    generation = Generation(reading, request, emit)
    batched = request.echo and not request.max_tokens and len(prompts) > 1 and reading.model.forks
    if batched and (yield from score_together(generation, prompts)):
        return
    for number, prompt in enumerate(prompts):
        yield from _complete(generation, prompt, number * request.n)


def _complete(generation: Generation, prompt: PreparedPrompt, first_index: int) -> Steps:
    reading, request = generation.reading, generation.request
    progress = reading.progress
    progress.prompt_tokens += len(prompt.tokens)
    started = time.perf_counter()
    echo = Echo(reading.model, request, prompt) if request.echo else None
    tokens = prompt.tokens[: prompt.kept]
    kv = restored(generation, tokens, echo)
    try:
        logits = yield from prefill(generation, tokens, echo, kv)
        progress.timings["prefill_ms"] += (time.perf_counter() - started) * 1000
        rows = generation.rows(prompt, first_index, echo)
        if logits is not None:
            yield from _decode(generation, tokens, rows, logits, kv)
    finally:
        reading.release(kv)
    generation.deliver(rows)


def _decode(
    generation: Generation, prompt: tuple[int, ...], rows: Sequence[Row], logits: torch.Tensor, kv: KVStore
) -> Steps:
    """Choose tokens for all rows, one forward pass per step, until each has ended or the context is full.

    The keys and values of the first row are kept for later prompts: it is usually the text that the user accepts.
    """
    reading, request = generation.reading, generation.request
    model = reading.model
    live = list(rows)
    first_row: list[int] = []
    started = time.perf_counter()

    def remember() -> None:
        reading.remember([*prompt, *first_row[: kv.length - len(prompt)]], kv)

    try:
        while True:
            tokens = _choose(generation, live, logits)
            if live[0] is rows[0]:
                first_row.append(tokens[0])
            if kv.length + 1 >= model.context:
                for row in live:
                    row.cut()
            if request.stream:
                generation.deliver(live)
            unfinished = [i for i, row in enumerate(live) if not row.finished]
            if not unfinished:
                return
            if kv.length == len(prompt):
                kv = model.part(kv, len(unfinished), min(request.max_tokens, ROOM))
            elif len(unfinished) < len(live):
                if live[0] is rows[0] and unfinished[0] != 0:
                    remember()
                kv.keep(unfinished)
            live = [live[i] for i in unfinished]
            part = Pass(torch.tensor([[tokens[i]] for i in unfinished]), kv)
            logits = (yield Planned("decode", part))[:, -1]
    finally:
        if live[0] is rows[0]:
            remember()
        reading.progress.timings["decode_ms"] += (time.perf_counter() - started) * 1000


def _choose(generation: Generation, live: Sequence[Row], logits: torch.Tensor) -> list[int]:
    """Return the next token of each row, from logits (rows, vocabulary).

    Logits are (1, vocabulary) at the step where the rows diverge.
    """
    reading, request = generation.reading, generation.request
    allowed = sampling.allowed_logits(logits, reading.model.banned)
    best = allowed.argmax(-1)
    if not torch.isfinite(allowed.gather(-1, best[:, None])).all():
        raise not_finite()
    log_probabilities = sampling.log_probabilities(allowed) if request.logprobs is not None else None
    greedy: list[int] = best.tolist()
    tokens = []
    for i, row in enumerate(live):
        source = i if len(greedy) > 1 else 0
        token = greedy[source] if row.is_plain else row.choose(allowed[source])
        before = row.count
        row.push(token, None if log_probabilities is None else log_probabilities[source])
        reading.progress.completion_tokens += row.count - before
        tokens.append(token)
    return tokens
