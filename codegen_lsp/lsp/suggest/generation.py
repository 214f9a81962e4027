"""Prompt -> wire request -> Candidates, and the second request that scores the text after the cursor.

Each function is one arrow of a request's way. Knows the wire and the plain values; knows no documents, no
LSP and no state.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from codegen_lsp.lsp.options import Options
from codegen_lsp.lsp.prompts.prompt import Prompt
from codegen_lsp.lsp.suggest.values import Candidate, Verdict
from codegen_lsp.wire.answers import Choice, Completion, Logprobs, Usage
from codegen_lsp.wire.client import EngineClient
from codegen_lsp.wire.requests import CompletionRequest

PLAIN_TEMPERATURE = 0.4
"""For a server that can't branch: at 0 all its rows would be the same."""
MAX_ROWS = 10
INVOKED_EXTRA = 2
"""More candidates for somebody who asks for them by hand."""

LOOK_AHEAD = 4
"""Tokens that a row is read at least, and that are taken to be certain when its chances are judged."""
USAGE_SECONDS = 0.05
"""So long is waited for the counts of a server that sends them after everything else."""
LEAST_EXTRA_STEPS = 4
"""Steps that other rows get at least once the likeliest is whole, if half as many again are fewer."""


def to_request(prompt: Prompt, options: Options, *, extensions: bool, invoked: bool) -> CompletionRequest:
    """The request for the candidates of a prompt."""
    n = min(MAX_ROWS, options.candidates + (INVOKED_EXTRA if invoked else 0))
    temperature = options.temperature
    if not extensions and n > 1 and temperature == 0:
        temperature = PLAIN_TEMPERATURE
    return CompletionRequest(
        prompts=(prompt.text + prompt.start,),
        max_tokens=prompt.max_tokens,
        n=n,
        temperature=temperature,
        top_p=options.top_p if temperature else 1.0,
        stop=prompt.stop,
        logprobs=0 if extensions else 1,
        stream=True,
        include_usage=True,
        continuous_usage=True,
        heal=prompt.heal,
        branch=n > 1 and temperature == 0,
    )


def warming_request(prompt: Prompt) -> CompletionRequest:
    """The request that reads a prompt into the engine's cache, after everybody else's requests."""
    return CompletionRequest(prompts=(prompt.text,), max_tokens=0, n=1, priority=1)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a stream is worth reading."""

    is_complete: Callable[[str], bool]
    """Whether more text could no longer change what is kept of a row."""
    least: float | None = None
    """The mean log-probability below which a row will not be shown; None reads every row to its end."""
    hurry: bool = False
    """Leave long rows behind soon after the likeliest one is whole."""
    start: str = ""
    """What every row starts with, as a part of the prompt already; see `Prompt.start`."""


@dataclass(slots=True)
class _Row:
    text: str = ""
    finish: str | None = None
    complete: bool = False
    hopeless: bool = False
    total: float = 0.0
    logprobs: Logprobs = field(default_factory=Logprobs)

    @property
    def settled(self) -> bool:
        return self.complete or self.hopeless

    def add(self, choice: Choice, patience: Patience) -> None:
        self.text += choice.text
        self.finish = choice.finish_reason or self.finish
        if choice.logprobs is not None:
            self.logprobs += choice.logprobs
            self.total += math.fsum(p for p in choice.logprobs.token_logprobs if p is not None)
        self.complete = self.finish is not None or (bool(choice.text) and patience.is_complete(self.text))
        count = len(self.logprobs.token_logprobs)
        # Even if the next tokens were certain, the mean would stay below what is shown.
        low = patience.least is not None and self.total / (count + LOOK_AHEAD) < patience.least
        self.hopeless = low and count >= LOOK_AHEAD


class _Rows:
    """The rows of a stream while it is read."""

    def __init__(self, n: int, patience: Patience) -> None:
        self.rows: dict[int, _Row] = {}
        self._n, self._patience = n, patience
        self._steps = 0
        self._last_step: int | None = None

    def take(self, chunk: Completion) -> bool:
        """Add a chunk; whether enough has been read."""
        self._steps += bool(chunk.choices)
        for choice in chunk.choices:
            row = self.rows.setdefault(choice.index, _Row(self._patience.start))
            if not row.settled:
                row.add(choice, self._patience)
        first = self.rows.get(0)
        if self._patience.hurry and self._last_step is None and first is not None and first.settled:
            self._last_step = self._steps + max(LEAST_EXTRA_STEPS, self._steps // 2)
        if self._last_step is not None and self._steps >= self._last_step and self._any_whole():
            return True
        return len(self.rows) >= self._n and all(row.settled for row in self.rows.values())

    def kept(self) -> list[_Row]:
        """The rows in their order; those that were left behind unfinished only where nothing else is there."""
        rows = [self.rows[index] for index in sorted(self.rows)]
        return [row for row in rows if row.settled] or rows

    @property
    def ended(self) -> bool:
        """The server has said everything."""
        return len(self.rows) >= self._n and all(row.finish is not None for row in self.rows.values())

    def _any_whole(self) -> bool:
        return any(row.complete for row in self.rows.values())


@dataclass(frozen=True, slots=True)
class Generated:
    """What a stream of chunks came to."""

    candidates: tuple[Candidate, ...]
    usage: Usage
    timings: dict[str, float]
    model: str


async def read(engine: EngineClient, request: CompletionRequest, patience: Patience) -> Generated:
    """The candidates of a streamed request; leaves the stream once it holds all that will be kept.

    Raises:
        WireError: as `EngineClient.stream`.
    """
    started = time.perf_counter()
    first: float | None = None
    rows = _Rows(request.n, patience)
    timings: dict[str, float] = {}
    usage: Usage | None = None
    model = ""
    async with aclosing(engine.stream(request)) as chunks:
        async for chunk in chunks:
            first = first or time.perf_counter()
            usage, model = chunk.usage or usage, chunk.model or model
            timings = dict(chunk.timings) or timings
            if rows.take(chunk):
                if usage is None and rows.ended:
                    usage = await _last_usage(chunks)
                break
    now = time.perf_counter()
    # The engine's own times come with its last chunk, which nobody waits for who leaves early.
    measured = {"prefill_ms": 1e3 * ((first or now) - started), "decode_ms": 1e3 * (now - (first or now))}
    candidates = tuple(_candidate(row) for row in rows.kept())
    return Generated(candidates, usage or Usage(), {"queue_ms": 0.0} | measured | timings, model)


async def _last_usage(chunks: AsyncIterator[Completion]) -> Usage | None:
    """The counts that a plain server sends behind the last text; most do at once."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(USAGE_SECONDS):
            async for chunk in chunks:
                if chunk.usage is not None:
                    return chunk.usage
    return None


def _candidate(row: _Row) -> Candidate:
    numbers = tuple(p for p in row.logprobs.token_logprobs if p is not None)
    return Candidate(
        text=row.text,
        raw=row.text,
        mean_logprob=math.fsum(numbers) / len(numbers) if numbers else None,
        finish=row.finish,
        tokens=row.logprobs.tokens,
        token_logprobs=numbers,
    )


async def score_suffixes(
    engine: EngineClient, verdicts: Sequence[Verdict], pairs: Sequence[tuple[str, str] | None]
) -> list[Verdict]:
    """The verdicts with `suffix_logprob` measured for those that have a pair of (text, suffix).

    InCoder (Fried et al. 2022, section 4.1, left-to-right reranking): how likely the text after the gap is
    once the candidate fills it. One request with a prompt a candidate; only the suffix's tokens come back.
    """
    asked = [(index, pair) for index, pair in enumerate(pairs) if pair is not None]
    if not asked:
        return list(verdicts)
    request = CompletionRequest(
        prompts=tuple(text + suffix for _, (text, suffix) in asked),
        max_tokens=0,
        echo=True,
        logprobs=0,
        echo_from=min(len(text) for _, (text, _) in asked),
    )
    answer = await engine.complete(request)
    scored = list(verdicts)
    for choice, (index, (text, _)) in zip(answer.choices, asked, strict=False):
        candidate = replace(scored[index].candidate, suffix_logprob=_mean_from(choice.logprobs, len(text)))
        scored[index] = replace(scored[index], candidate=candidate)
    return scored


def _mean_from(logprobs: Logprobs | None, start: int) -> float | None:
    if logprobs is None:
        return None
    numbers = [
        p
        for p, offset in zip(logprobs.token_logprobs, logprobs.text_offset, strict=False)
        if p is not None and offset >= start
    ]
    return math.fsum(numbers) / len(numbers) if numbers else None
