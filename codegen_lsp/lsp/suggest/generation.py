"""Prompt → wire request → candidates, and the second request, which scores the text after the cursor.

Each function is one arrow of a request's way. Knows the wire and the plain values; knows no documents, no LSP and
no state.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from codegen_lsp.lsp.options.options import Options
from codegen_lsp.lsp.prompts.prompt import Prompt
from codegen_lsp.lsp.suggest.values import Candidate, Verdict
from codegen_lsp.wire.answers import Choice, Completion, Logprobs, Usage
from codegen_lsp.wire.client import EngineClient
from codegen_lsp.wire.requests import CompletionRequest

PLAIN_TEMPERATURE = 0.4
"""Temperature for a server that can't branch: at 0 all its rows would be the same."""
MAX_ROWS = 10
INVOKED_EXTRA = 7
"""Number of additional candidates of an engine of this project if the user asks for them by hand."""
INVOKED_EXTRA_DRAWN = 2
"""The same of other servers, which draw them, so that many are equal."""

LOOK_AHEAD = 4
"""Minimum number of tokens read of a row; as many more are assumed to be certain when its chances are judged."""
USAGE_SECONDS = 0.05
"""How long to wait for a trailing usage chunk, in seconds."""
LEAST_EXTRA_STEPS = 2
"""Minimum number of further steps for the other rows once the likeliest row is complete."""


def to_request(
    prompt: Prompt, options: Options, *, extensions: bool, invoked: bool, remote: bool = False
) -> CompletionRequest:
    """Return the request for the candidates of a prompt.

    A server that others use too (`remote`) writes a single row, the greedy one, unless the user asks by hand.
    """
    extra = INVOKED_EXTRA if extensions else INVOKED_EXTRA_DRAWN
    more = extra if invoked and options.candidates > 1 else 0
    n = 1 if remote and not invoked else min(MAX_ROWS, options.candidates + more)
    n -= bool(prompt.start) and n > 1  # one row is for the hint
    temperature = options.temperature
    if not extensions and n > 1 and temperature == 0:
        temperature = PLAIN_TEMPERATURE
    return CompletionRequest(
        prompts=(prompt.text,),
        suffix=prompt.suffix,
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
        files=prompt.files,
        path=prompt.path,
        words=prompt.words,
    )


def with_greedy_row(request: CompletionRequest) -> tuple[CompletionRequest, ...]:
    """Return the requests for a server that can't branch: one for the likeliest row, one for the sampled rows."""
    if request.n == 1 or request.branch:
        return (request,)
    return replace(request, n=1, temperature=0.0, top_p=1.0), replace(request, n=request.n - 1)


def hinted_request(prompt: Prompt, *, extensions: bool) -> CompletionRequest:
    """Return the request for one row that starts with what the code around the cursor hints at.

    That is what the code below needs, or an import that nothing uses.
    """
    return CompletionRequest(
        prompts=(prompt.text + prompt.start,),
        suffix=prompt.suffix,
        max_tokens=prompt.max_tokens,
        n=1,
        temperature=0.0,
        stop=("\n",),
        logprobs=0 if extensions else 1,
        stream=True,
        include_usage=True,
        continuous_usage=True,
        heal=prompt.heal and not prompt.start,
        files=prompt.files,
        path=prompt.path,
        words=() if prompt.start else prompt.offers,
    )


def warming_request(prompt: Prompt) -> CompletionRequest:
    """Return the request that reads a prompt into the engine's cache, behind all requests of users."""
    return CompletionRequest(
        prompts=(prompt.text,),
        suffix=prompt.suffix,
        max_tokens=0,
        n=1,
        priority=1,
        files=prompt.files,
        path=prompt.path,
    )


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a stream is worth reading."""

    is_complete: Callable[[str], bool]
    """Returns whether more text can't change what is kept of a row."""
    least: float | None = None
    """The mean log-probability below which a row will not be shown; None reads every row to its end."""
    hurry: bool = False
    """Stop reading long rows soon after the likeliest one is complete."""
    settled: Callable[[Candidate], None] = lambda _: None
    """Called with each row that has been read as far as it is kept, while others are still written."""
    start: str = ""
    """The text that every row starts with and that is already part of the prompt; see `Prompt.start`."""


@dataclass(slots=True)
class _Row:
    text: str = ""
    finish: str | None = None
    complete: bool = False
    hopeless: bool = False
    told: bool = False
    """Whether `Patience.settled` was called."""
    total: float = 0.0
    steps: int = 0
    """Number of forward passes that the row took; of servers that send no log-probabilities, parts of its text."""
    logprobs: Logprobs = field(default_factory=Logprobs)

    @property
    def settled(self) -> bool:
        return self.complete or self.hopeless

    def add(self, choice: Choice, patience: Patience) -> None:
        self.text += choice.text
        self.steps += max(1, len(choice.logprobs.tokens) if choice.logprobs is not None else 0)
        self.finish = choice.finish_reason or self.finish
        if choice.logprobs is not None:
            self.logprobs += choice.logprobs
            self.total += math.fsum(p for p in choice.logprobs.token_logprobs if p is not None)
        self.complete = self.finish is not None or (bool(choice.text) and patience.is_complete(self.text))
        count = len(self.logprobs.token_logprobs)
        # Even if the next tokens were certain, the mean would stay below the threshold.
        is_low = patience.least is not None and self.total / (count + LOOK_AHEAD) < patience.least
        self.hopeless = is_low and count >= LOOK_AHEAD


class _Rows:
    """The rows of a stream while it is read."""

    def __init__(self, n: int, patience: Patience) -> None:
        self.rows: dict[int, _Row] = {}
        self._n, self._patience = n, patience
        self._last_step: int | None = None

    def take(self, chunk: Completion) -> bool:
        """Add a chunk and return whether enough has been read."""
        for choice in chunk.choices:
            row = self.rows.setdefault(choice.index, _Row(self._patience.start))
            if not row.settled:
                row.add(choice, self._patience)
        first = self.rows.get(0)
        if self._patience.hurry and self._last_step is None and first is not None and first.settled:
            self._last_step = self._steps + max(LEAST_EXTRA_STEPS, self._steps // 4)
        if self._last_step is not None and self._steps >= self._last_step and self._any_complete():
            return True
        return len(self.rows) >= self._n and all(row.settled for row in self.rows.values())

    def tell(self) -> None:
        """Call `Patience.settled` for the rows that are."""
        for row in self.rows.values():
            if row.settled and not row.told:
                row.told = True
                self._patience.settled(_candidate(row))

    def kept(self) -> list[_Row]:
        """Return the settled rows in order; all rows if none is settled."""
        rows = [self.rows[index] for index in sorted(self.rows)]
        return [row for row in rows if row.settled] or rows

    @property
    def ended(self) -> bool:
        """Whether the server has finished every row."""
        return len(self.rows) >= self._n and all(row.finish is not None for row in self.rows.values())

    @property
    def _steps(self) -> int:
        """Number of steps so far: rows make theirs together."""
        return max((row.steps for row in self.rows.values()), default=0)

    def _any_complete(self) -> bool:
        return any(row.complete for row in self.rows.values())


@dataclass(frozen=True, slots=True)
class Generated:
    """The candidates of a stream of chunks, with its counts and times."""

    candidates: tuple[Candidate, ...]
    usage: Usage
    timings: dict[str, float]
    model: str


async def read(engine: EngineClient, request: CompletionRequest, patience: Patience) -> Generated:
    """Return the candidates of a streamed request; stops reading once it holds all that will be kept.

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
                if rows.ended and (usage is None or engine.extensions):
                    usage = await _last_usage(chunks) or usage
                break
            rows.tell()
    ended = time.perf_counter()
    first = first or ended
    # The engine reports its timings in the last chunk; we never see it when we stop reading early.
    measured = {"prefill_ms": 1e3 * (first - started), "decode_ms": 1e3 * (ended - first)}
    candidates = tuple(_candidate(row) for row in rows.kept())
    return Generated(candidates, usage or Usage(), {"queue_ms": 0.0} | measured | timings, model)


async def _last_usage(chunks: AsyncIterator[Completion]) -> Usage | None:
    """Read what follows the last text, which most servers send at once, and return its counts.

    A stream that was read to its end leaves its connection to the next request.
    """
    usage = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(USAGE_SECONDS):
            async for chunk in chunks:
                usage = chunk.usage or usage
    return usage


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
    engine: EngineClient,
    verdicts: Sequence[Verdict],
    pairs: Sequence[tuple[str, str] | None],
    session: str = "",
) -> list[Verdict]:
    """Return the verdicts, with `suffix_logprob` measured for those that have a pair of (text, suffix).

    InCoder (Fried et al. 2022, section 4.1, left-to-right reranking): how likely the text after the gap is
    once the candidate fills it. One request holds a prompt for each different text; only the suffixes' tokens
    come back.
    """
    different = list(dict.fromkeys(pair for pair in pairs if pair is not None))
    if not different:
        return list(verdicts)
    request = CompletionRequest(
        prompts=tuple(text + suffix for text, suffix in different),
        max_tokens=0,
        echo=True,
        logprobs=0 if engine.extensions else 1,
        echo_from=min(len(text) for text, _ in different),
        session=session,
    )
    answer = await engine.complete(request)
    scores = {
        pair: _mean_from(choice.logprobs, len(pair[0]))
        for choice, pair in zip(answer.choices, different, strict=False)
    }
    return [
        replace(verdict, candidate=replace(verdict.candidate, suffix_logprob=scores[pair]))
        if pair in scores
        else verdict
        for verdict, pair in zip(verdicts, pairs, strict=True)
    ]


def _mean_from(logprobs: Logprobs | None, start: int) -> float | None:
    if logprobs is None:
        return None
    numbers = [
        p
        for p, offset in zip(logprobs.token_logprobs, logprobs.text_offset, strict=False)
        if p is not None and offset >= start
    ]
    return math.fsum(numbers) / len(numbers) if numbers else None
