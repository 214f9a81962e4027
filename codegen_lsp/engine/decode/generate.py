"""A request as a sequence of steps: read the prompt in chunks, once; then decode its rows as one batch.

Knows the model's door, the prefix cache and rows. A generator does one forward pass between two `yield`s, so that
whoever runs it can take turns among requests and stop any of them there. Knows no threads and no HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

import torch

from codegen_lsp.engine.decode import sampling
from codegen_lsp.engine.decode.rows import Row, named_top
from codegen_lsp.engine.decode.stop_strings import Utf8
from codegen_lsp.engine.model.kv import GrowingCache, KVCache, Store
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.prefix_cache import PrefixCache
from codegen_lsp.wire.answers import Choice, Logprobs
from codegen_lsp.wire.config import option
from codegen_lsp.wire.errors import InternalError, RequestError
from codegen_lsp.wire.requests import CompletionRequest, PromptInput

Step = Literal["prefill", "decode"]
Emit = Callable[[Sequence[Choice]], None]

WARM_CHUNK = 64
"""Tokens a step of a background request reads at most: a keystroke waits for the step that runs."""

ROOM = 128
"""Tokens of room that decoding starts with, where the request may need more."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prompt that was checked and tokenized."""

    text: str
    tokens: tuple[int, ...]
    """All tokens of the prompt."""
    kept: int
    """How many of them are read; the rest is given back to healing."""
    rest: bytes
    """What healing has to spell."""


@dataclass(slots=True)
class DecodeProgress:
    """What a request has cost so far."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    prefilled_tokens: int = 0
    timings: dict[str, float] = field(default_factory=lambda: {"prefill_ms": 0.0, "decode_ms": 0.0})


def prepare(model: Model, request: CompletionRequest) -> list[Prepared]:
    """Check and tokenize a request's prompts.

    Raises:
        RequestError: a prompt is too long, holds ids that don't exist, or a field can't be had of this model.
    """
    if request.heal and not model.vocabulary.byte_level:
        raise RequestError("'heal' needs a byte-level tokenizer, which this model has not", param="heal")
    if request.heal and request.echo:
        raise RequestError("'heal' and 'echo' exclude each other", param="heal")
    return [_prepare(model, request, prompt) for prompt in request.prompts]


def _prepare(model: Model, request: CompletionRequest, prompt: PromptInput) -> Prepared:
    vocabulary = model.vocabulary
    # With tokens to come one place stays free for the first of them.
    limit = model.context - (1 if request.max_tokens else 0)
    if isinstance(prompt, str):
        prompt = prompt.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if len(prompt) > limit * vocabulary.longest:
            raise _too_long(f"{len(prompt)} characters", model, limit)
        tokens, text = vocabulary.encode(prompt), prompt
    else:
        bad = next(
            (t for t in prompt if t >= vocabulary.size or vocabulary.tokenizer.id_to_token(t) is None), None
        )
        if bad is not None:
            raise RequestError(f"'prompt' holds token {bad}, which this model has not", param="prompt")
        tokens = list(prompt)
        text = b"".join(vocabulary.bytes_of[t] for t in tokens[: limit + 1]).decode(errors="replace")
    kept, rest = len(tokens), b""
    if request.heal and request.max_tokens and text:
        count = vocabulary.ragged(tokens)
        kept -= count
        rest = b"".join(vocabulary.bytes_of[t] for t in tokens[kept:])
        if not kept:
            tokens, kept = [vocabulary.start, *tokens], 1
    if len(tokens) > limit:
        raise _too_long(f"{len(tokens)} tokens", model, limit)
    return Prepared(text, tuple(tokens), kept, rest)


def _too_long(size: str, model: Model, limit: int) -> RequestError:
    return RequestError(
        f"'prompt' has {size}; this model takes at most {limit} tokens (context {model.context})",
        param="prompt",
        code="context_length_exceeded",
    )


def generate(
    model: Model,
    cache: PrefixCache | None,
    request: CompletionRequest,
    prompts: Sequence[Prepared],
    emit: Emit,
    progress: DecodeProgress,
    chunk: int,
) -> Iterator[Step]:
    """Run a request; each item is one forward pass that was made.

    Args:
        emit: given the new parts of choices, after each step when streaming, else once a prompt.
        progress: counted up as the work goes on.
        chunk: tokens that one step of a prefill reads.
    """
    if request.priority > 0:
        chunk = min(chunk, WARM_CHUNK)
    together = request.echo and not request.max_tokens and len(prompts) > 1 and model.forks
    if together and (yield from _score(model, cache, request, prompts, emit, progress, chunk)):
        return
    for number, prompt in enumerate(prompts):
        yield from _one(model, cache, request, prompt, number * request.n, emit, progress, chunk)


def _one(
    model: Model,
    cache: PrefixCache | None,
    request: CompletionRequest,
    prompt: Prepared,
    first_index: int,
    emit: Emit,
    progress: DecodeProgress,
    chunk: int,
) -> Iterator[Step]:
    progress.prompt_tokens += len(prompt.tokens)
    started = time.perf_counter()
    echo = _Echo(model, request, prompt) if request.echo else None
    tokens = prompt.tokens[: prompt.kept]
    logits, kv = yield from _prefill(model, cache, request, tokens, echo, progress, chunk)
    progress.timings["prefill_ms"] += (time.perf_counter() - started) * 1000

    started = time.perf_counter()
    rows = _rows(model, request, prompt, first_index, echo)
    try:
        if logits is not None:
            yield from _decode(model, cache, request, tokens, rows, logits, kv, emit, progress)
    finally:
        progress.timings["decode_ms"] += (time.perf_counter() - started) * 1000
    _deliver(rows, emit)


def _rows(
    model: Model, request: CompletionRequest, prompt: Prepared, first_index: int, echo: _Echo | None
) -> list[Row]:
    """The rows of a prompt that was read; where nothing is to be decoded they have ended."""
    rows = [
        Row(model.vocabulary, request, first_index + rank, rank, len(prompt.text), prompt.rest)
        for rank in range(request.n)
    ]
    for row in rows:
        if echo is not None:
            row.echo(echo.text, echo.logprobs)
        if not request.max_tokens:
            row.cut()
    return rows


def _score(
    model: Model,
    cache: PrefixCache | None,
    request: CompletionRequest,
    prompts: Sequence[Prepared],
    emit: Emit,
    progress: DecodeProgress,
    chunk: int,
) -> Generator[Step, None, bool]:
    """Echo prompts with their log-probabilities: what they begin with together is read once, the rest as rows of a
    batch. False, with nothing read, for prompts that have little in common, or long ends of their own."""
    shared = _common_length([prompt.tokens for prompt in prompts])
    echoes = [_Echo(model, request, prompt) for prompt in prompts]
    # Of each prompt a token is left to read, and everything that is scored.
    shared = min(shared, *(min(len(e.tokens) - 1, e.read_from) for e in echoes))
    ends = [prompt.tokens[shared:] for prompt in prompts]
    if shared < 1 or max(map(len, ends)) > chunk // 2:
        return False
    started = time.perf_counter()
    progress.prompt_tokens += sum(len(prompt.tokens) for prompt in prompts)
    _, kv = yield from _prefill(model, cache, request, prompts[0].tokens[:shared], None, progress, chunk)
    progress.cached_tokens += shared * (len(prompts) - 1)
    for batch in _batches(ends, chunk):
        longest = max(len(ends[i]) for i in batch)
        # What stands behind the end of a shorter row is seen by nothing before it.
        tokens = torch.tensor([[*ends[i], *[0] * (longest - len(ends[i]))] for i in batch])
        low = min(longest - 1, *(echoes[i].read_from - shared for i in batch))
        logits = model.forward(tokens, model.fork(kv, len(batch), longest), torch.arange(low, longest))
        for row, i in enumerate(batch):
            echoes[i].take(len(prompts[i].tokens), logits[row, : len(ends[i]) - low])
        progress.prefilled_tokens += sum(len(ends[i]) for i in batch)
        yield "prefill"
    progress.timings["prefill_ms"] += (time.perf_counter() - started) * 1000
    for number, (prompt, echo) in enumerate(zip(prompts, echoes, strict=True)):
        _deliver(_rows(model, request, prompt, number * request.n, echo), emit)
    return True


def _common_length(prompts: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all prompts begin with."""
    first, last = min(prompts), max(prompts)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))


def _batches(ends: Sequence[Sequence[int]], tokens: int) -> Iterator[list[int]]:
    """The numbers of rows in batches that have at most so many tokens, the padding counted."""
    batch: list[int] = []
    longest = 0
    for number, end in enumerate(ends):
        longest = max(longest, len(end))
        if batch and longest * (len(batch) + 1) > tokens:
            yield batch
            batch, longest = [], len(end)
        batch.append(number)
    yield batch


def _prefill(
    model: Model,
    cache: PrefixCache | None,
    request: CompletionRequest,
    tokens: tuple[int, ...],
    echo: _Echo | None,
    progress: DecodeProgress,
    chunk: int,
) -> Generator[Step, None, tuple[torch.Tensor | None, Store]]:
    """Read a prompt, but for what the cache holds of it.

    Returns:
        the logits (1, vocabulary) of the last position, None where nothing is to be decoded; and the KV cache.
    """
    decode = request.max_tokens > 0
    usable = len(tokens) - 1 if decode else len(tokens)
    if echo is not None:
        usable = min(usable, echo.read_from)
    room = len(tokens) + (min(request.max_tokens, ROOM) if request.n == 1 else 0)
    kv = model.new_cache(room)
    position = 0
    if cache is not None and isinstance(kv, KVCache):
        match = cache.lookup(tokens[:usable])
        for piece in match.pieces:
            kv.append(piece)
        position = match.length
    progress.cached_tokens += position
    logits = None
    while position < len(tokens):
        part = tokens[position : position + chunk]
        keep: int | torch.Tensor = 1 if echo is None else echo.wanted(position, len(part))
        answer = model.forward(torch.tensor([part]), kv, keep)
        if echo is not None:
            echo.take(position + len(part), answer[0])
        logits = answer[:, -1]
        position += len(part)
        progress.prefilled_tokens += len(part)
        if cache is not None and isinstance(kv, KVCache):
            cache.insert(tokens[:position], kv)
        yield "prefill"
    return (logits if decode else None), kv


def _decode(
    model: Model,
    cache: PrefixCache | None,
    request: CompletionRequest,
    prompt: tuple[int, ...],
    rows: Sequence[Row],
    logits: torch.Tensor,
    kv: Store,
    emit: Emit,
    progress: DecodeProgress,
) -> Iterator[Step]:
    """Choose tokens for all rows, one forward pass a step, until each has ended or the context is full.

    The keys and values of the first row are kept for prompts to come: most often its text is what the user takes.
    """
    live = list(rows)
    spoken: list[int] = []
    try:
        while True:
            tokens = _choose(model, request, live, logits, progress)
            if live[0] is rows[0]:
                spoken.append(tokens[0])
            if kv.length + 1 >= model.context:
                for row in live:
                    row.cut()
            if request.stream:
                _deliver(live, emit)
            going = [i for i, row in enumerate(live) if not row.finished]
            if not going:
                return
            if kv.length == len(prompt):
                kv = model.part(kv, len(going), min(request.max_tokens, ROOM))
            elif len(going) < len(live):
                if live[0] is rows[0] and going[0] != 0:
                    _remember(cache, prompt, spoken, kv)
                kv.keep(going)
            live = [live[i] for i in going]
            logits = model.forward(torch.tensor([[tokens[i]] for i in going]), kv)[:, -1]
            yield "decode"
    finally:
        if live[0] is rows[0]:
            _remember(cache, prompt, spoken, kv)


def _choose(
    model: Model,
    request: CompletionRequest,
    live: Sequence[Row],
    logits: torch.Tensor,
    progress: DecodeProgress,
) -> list[int]:
    """The next token of each row, from logits (rows, vocabulary), or (1, vocabulary) where the rows part here."""
    allowed = sampling.allowed_logits(logits, model.banned)
    best = allowed.argmax(-1)
    if not torch.isfinite(allowed.gather(-1, best[:, None])).all():
        raise InternalError(
            f"the model computed no finite numbers; take {option('dtype', 'float32')}", code="not-finite"
        )
    log_probabilities = sampling.log_probabilities(allowed) if request.logprobs is not None else None
    greedy: list[int] = best.tolist()
    tokens = []
    for i, row in enumerate(live):
        at = i if len(greedy) > 1 else 0
        token = greedy[at] if row.is_plain else row.choose(allowed[at])
        before = row.count
        row.push(token, None if log_probabilities is None else log_probabilities[at])
        progress.completion_tokens += row.count - before
        tokens.append(token)
    return tokens


def _remember(cache: PrefixCache | None, prompt: tuple[int, ...], spoken: Sequence[int], kv: Store) -> None:
    if cache is not None and not isinstance(kv, GrowingCache):
        cache.insert([*prompt, *spoken[: kv.length - len(prompt)]], kv)


def _deliver(rows: Sequence[Row], emit: Emit) -> None:
    choices = [choice for row in rows if (choice := row.delta()) is not None]
    if choices:
        emit(choices)


class _Echo:
    """The prompt in the answer, with its tokens' log-probabilities where they are asked for."""

    def __init__(self, model: Model, request: CompletionRequest, prompt: Prepared) -> None:
        self.model = model
        self.request = request
        self.tokens = prompt.tokens
        self.starts = _character_starts(model, prompt)
        holds = (i for i in range(len(self.tokens)) if self.starts[i + 1] > request.echo_from)
        self.first = next(holds, len(self.tokens)) if request.echo_from else 0
        self.text = prompt.text[self.starts[self.first] :]
        self._values: list[float | None] = [None] if self.first == 0 else []
        self._tops: list[dict[str, float] | None] = [None] if self.first == 0 else []

    @property
    def scored_from(self) -> int | None:
        """The first position whose logits are needed; None where none are."""
        return max(self.first - 1, 0) if self.request.logprobs is not None else None

    @property
    def read_from(self) -> int:
        """The first position that has to be read, and not taken from a cache."""
        return len(self.tokens) if self.scored_from is None else self.scored_from

    @property
    def logprobs(self) -> Logprobs | None:
        """Of the echoed tokens."""
        if self.request.logprobs is None:
            return None
        echoed = self.tokens[self.first :]
        return Logprobs(
            tokens=tuple(self.model.vocabulary.text_of(t) for t in echoed),
            token_logprobs=tuple(self._values),
            top_logprobs=tuple(self._tops),
            text_offset=tuple(self.starts[self.first : len(self.tokens)]),
        )

    def wanted(self, position: int, count: int) -> torch.Tensor:
        """Which of `count` positions from `position` on the logits are needed for: always the last one too."""
        first = self.scored_from
        low = count - 1 if first is None else max(0, min(first - position, count - 1))
        return torch.arange(low, count)

    def take(self, position: int, logits: torch.Tensor) -> None:
        """Logits (kept, vocabulary) of the last `kept` positions before `position`."""
        if self.request.logprobs is None:
            return
        start = position - logits.shape[0]
        values = sampling.log_probabilities(sampling.allowed_logits(logits, self.model.banned))
        for row, at in enumerate(range(start, position)):
            following = at + 1
            if self.first <= following < len(self.tokens):
                self._values.append(float(values[row, self.tokens[following]]))
                self._tops.append(named_top(self.model.vocabulary, values[row], self.request.logprobs))


def _character_starts(model: Model, prompt: Prepared) -> list[int]:
    """The character at which each token starts, and the number of characters at the end."""
    if prompt.text.isascii():
        bytes_of = model.vocabulary.bytes_of
        starts = [0, *accumulate(len(bytes_of[token]) for token in prompt.tokens)]
        if starts[-1] == len(prompt.text):
            return starts
    utf8, count = Utf8(), 0
    starts = []
    for i, token in enumerate(prompt.tokens):
        starts.append(count)
        raw = model.vocabulary.bytes_of[token]
        added = i == 0 and token in model.vocabulary.special and not prompt.text.startswith(raw.decode())
        count += 0 if added else len(utf8.feed(raw))
    return [min(start, len(prompt.text)) for start in starts] + [len(prompt.text)]
