"""A request as a sequence of steps: read the prompt in chunks, once; then decode its rows as one batch.

Each item that a generator here yields is a forward pass that it needs; its logits are sent back. So the caller can take
turns among requests, make their passes together, and stop any of them between two steps. Knows no threads and no HTTP.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace

import torch

from codegen_lsp.engine.decode.drafts import Corpus, Speculation
from codegen_lsp.engine.decode.echo import Echo
from codegen_lsp.engine.decode.generation import Emit, Generation, NewParts, prefill, restored
from codegen_lsp.engine.decode.progress import Planned, Step, Steps
from codegen_lsp.engine.decode.prompts import PreparedPrompt
from codegen_lsp.engine.decode.reading import Reading, distributions
from codegen_lsp.engine.decode.rows.row import Row
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
    if request.echo:
        reading = replace(reading, chunk=min(reading.chunk, reading.model.scored_chunk))
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
            started = time.perf_counter()
            yield from _Decoding(generation, prompt, rows, kv).steps(logits)
            progress.timings["decode_ms"] += (time.perf_counter() - started) * 1000
    finally:
        reading.release(kv)
    generation.deliver(rows)


class _Decoding:
    """The rows of one prompt while their tokens are chosen.

    The keys and values of the first row are kept for later prompts: it is usually the text that the user accepts.
    """

    def __init__(
        self, generation: Generation, prompt: PreparedPrompt, rows: Sequence[Row], kv: KVStore
    ) -> None:
        self.generation = generation
        self.prompt = prompt.tokens[: prompt.kept]
        self.expected = prompt.draft
        self.kv = kv
        self.live = list(rows)
        self._first = rows[0]
        self._delivered: NewParts | None = None
        """What was emitted last: until it is taken, it grows with the rows."""
        self._chosen: list[list[int]] = [[] for _ in rows]
        """The tokens of each row in `live`."""
        self._ahead: deque[tuple[int, torch.Tensor]] = deque()
        """Drafted tokens that were read, and the logits (1, vocabulary) after each."""
        self._drafted = 0
        self._corpus: Corpus | None = None
        self._speculation = Speculation(generation.reading.model.step_times)

    def steps(self, logits: torch.Tensor) -> Steps:
        """Choose tokens for all rows, one forward pass per step, until each has ended or the context is full."""
        try:
            while True:
                tokens = _choose(self.generation, self.live, logits)
                self._take(tokens)
                unfinished = [i for i, row in enumerate(self.live) if not row.finished]
                if not unfinished:
                    return
                if self._ahead and self._ahead[0][0] == tokens[0]:
                    _, logits = self._ahead.popleft()
                    self.generation.reading.progress.accepted_tokens += 1
                else:
                    self._drop_ahead()
                    self._keep(unfinished)
                    logits = yield from self._read([tokens[i] for i in unfinished])
        finally:
            self._drop_ahead()
            self._remember()

    def _take(self, tokens: Sequence[int]) -> None:
        """Note what was chosen, and deliver it."""
        for chosen, token in zip(self._chosen, tokens, strict=True):
            chosen.append(token)
        if self._corpus is not None:
            self._corpus.add(tokens[0])
        if self.kv.length - len(self._ahead) + 1 >= self.generation.reading.model.context:
            for row in self.live:
                row.cut()
        last = self._delivered
        if self.generation.request.stream and (last is None or last.taken or last.rows is not self.live):
            self._delivered = self.generation.deliver(self.live)

    def _keep(self, unfinished: Sequence[int]) -> None:
        """Let only these rows go on."""
        request = self.generation.request
        if unfinished[0] != 0:
            self._remember()
        if self.kv.length == len(self.prompt):
            model = self.generation.reading.model
            self.kv = model.part(self.kv, len(unfinished), min(request.max_tokens, ROOM))
        elif len(unfinished) < len(self.live):
            self.kv.keep(unfinished)
        if len(unfinished) < len(self.live):
            self.live = [self.live[i] for i in unfinished]
            self._chosen = [self._chosen[i] for i in unfinished]

    def _read(self, tokens: Sequence[int]) -> Generator[Planned | Step, torch.Tensor, torch.Tensor]:
        """Read the tokens of all rows, and a draft after that of a single one; return the logits after the tokens."""
        draft = self._draft() if len(tokens) == 1 else []
        read = [[token, *draft] for token in tokens]
        logits = yield Planned("decode", Pass(torch.tensor(read), self.kv, 1 + len(draft)))
        self._ahead.extend((token, logits[:1, index]) for index, token in enumerate(draft, start=1))
        self._drafted = len(draft)
        self.generation.reading.progress.drafted_tokens += len(draft)
        return logits[:, 0]

    def _draft(self) -> list[int]:
        """Return the tokens that the only row probably takes next, if it pays to verify them."""
        model, request, row = self.generation.reading.model, self.generation.request, self.live[0]
        if not model.forks or row.is_starting:
            return []
        room = min(request.max_tokens - row.count, model.context - self.kv.length - 1) - 1
        count = self._speculation.length(room)
        if not count:
            return []
        if self._corpus is None:
            self._corpus = Corpus(self.expected, [*self.prompt, *self._chosen[0]])
        return self._corpus.draft(count)

    def _drop_ahead(self) -> None:
        """Drop the drafted tokens that were not chosen."""
        if self._drafted:
            self._speculation.count(self._drafted, self._drafted - len(self._ahead))
            self._drafted = 0
        if self._ahead:
            self.kv.crop(self.kv.length - len(self._ahead))
            self._ahead.clear()

    def _remember(self) -> None:
        if self.live[0] is self._first:
            decoded = self._chosen[0][: self.kv.length - len(self.prompt)]
            self.generation.reading.remember([*self.prompt, *decoded], self.kv)


def _choose(generation: Generation, live: Sequence[Row], logits: torch.Tensor) -> list[int]:
    """Return the next token of each row, from logits (rows, vocabulary).

    Logits are (1, vocabulary) at the step where the rows diverge.
    """
    reading = generation.reading
    of_rows = distributions(reading.model, logits)
    tokens = []
    for i, row in enumerate(live):
        distribution = of_rows[i if len(of_rows) > 1 else 0]
        token = row.choose(distribution)
        before = row.count
        row.push(token, distribution)
        reading.progress.completion_tokens += row.count - before
        tokens.append(token)
    return tokens
