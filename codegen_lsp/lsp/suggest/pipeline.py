"""One request's way: Cursor -> memory -> Prompt -> engine -> Candidates -> filtered -> ranked.

Knows the order of the steps, who shares an answer with whom, and what each failure means for the user.
Speaks no LSP. Everything it holds belongs to one backend and one set of options and goes with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from typing import Any

from codegen_lsp.lsp.code.cursor import Cursor, Shape
from codegen_lsp.lsp.engines.backend import Backend
from codegen_lsp.lsp.options import Options
from codegen_lsp.lsp.prompts import prompt as prompts
from codegen_lsp.lsp.prompts.prompt import Prompt
from codegen_lsp.lsp.prompts.token_counter import Estimates, TokenCounter, estimate
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.suggest import filters, generation, rank
from codegen_lsp.lsp.suggest.request_log import Outcome
from codegen_lsp.lsp.suggest.suggestion_cache import SuggestionCache
from codegen_lsp.wire.client import TransportError, clean
from codegen_lsp.wire.errors import (
    NotReadyError,
    OverloadedError,
    RequestError,
    UnauthorizedError,
    WireError,
    is_too_long,
)

logger = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds that somebody who asks by hand waits for an engine that slept."""
LARGE = 200_000
"""Characters of a document from which on its prompt is built in a thread, so that typing goes on."""
SCORING_SECONDS = (0.1, 1.0)
"""The second request may take as long as the first, but at least and at most so long; then it is left out."""


@dataclass(slots=True)
class _Flight:
    task: asyncio.Task[Outcome]
    waiters: int = 0


class Pipeline:
    """Answers for cursors, from one backend."""

    def __init__(
        self,
        backend: Backend,
        options: Options,
        memory: SuggestionCache,
        on_running: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`on_running` is told how many generations run, whenever that changes."""
        self.backend = backend
        self.options = options
        self._memory = memory
        self._on_running = on_running
        self._flights: dict[tuple[object, ...], _Flight] = {}
        self._running = 0
        self._estimates = Estimates()
        self._counter: asyncio.Task[TokenCounter] | None = None
        self._counted_by = ""
        self._warming: asyncio.Task[None] | None = None
        self._warmed = ""
        self._missed: Cursor | None = None

    async def suggest(self, cursor: Cursor, *, invoked: bool) -> Outcome:
        """What to show at a cursor, or why nothing. Never raises but for cancellation."""
        if not invoked:
            remembered = self._memory.get(cursor)
            if remembered:
                self.stop_warming()
                return Outcome(remembered, source="memory", model=self.backend.info.id)
            if _inside_word(cursor):
                return Outcome(reason=Reason.INSIDE_WORD)
        # The menu and the ghost text ask at the same place at the same time: one generation serves both.
        key = (cursor.uri, cursor.prefix, cursor.suffix, cursor.selected, invoked)
        return await self._join(key, lambda: self._generate(cursor, invoked))

    async def write(self, cursor: Cursor, prompt: Prompt) -> Outcome:
        """One long continuation of a prompt made by the caller (*Write the body*)."""
        options = replace(self.options, candidates=1)

        async def work() -> Outcome:
            return await self._ask(cursor, prompt, options, invoked=False, show_all=True)

        return await self._guarded(cursor, work)

    async def aclose(self) -> None:
        """Stop all work; whoever waits for it is cancelled."""
        self.stop_warming()
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def limits(self) -> prompts.PromptLimits:
        """How long prompts and continuations may be with this model and these options."""
        options = self.options
        return prompts.PromptLimits(
            context=self.backend.info.max_model_len,
            line_tokens=options.max_tokens_line,
            block_tokens=options.max_tokens_block,
            body_tokens=options.max_tokens_body,
        )

    async def counter(self) -> TokenCounter:
        """Counts tokens as the model does, where its tokenizer lies on this machine; else estimates."""
        path = self.backend.info.tokenizer_file
        if not path:
            return self._estimates.counter
        if self._counter is None or path != self._counted_by:
            self._counted_by = path
            self._counter = asyncio.create_task(asyncio.to_thread(_load_counter, path), name="tokenizer")
        # Whoever asks first may be cancelled; what is loaded is for all who come after.
        return await asyncio.shield(self._counter)

    # Warming -------------------------------------------------------------------------------------------

    def warm(self, cursor: Cursor, delay: float = 0.0) -> None:
        """Read the prompt at a cursor into the engine's cache, in the background; the newest call wins."""
        self.stop_warming()
        if self.options.warm:
            self._warming = asyncio.create_task(self._warm(cursor, delay), name="warm")

    def stop_warming(self) -> None:
        """Give up the warming that runs; what it has read stays in the cache."""
        if self._warming is not None:
            self._warming.cancel()
            self._warming = None

    def engine_is_ready(self) -> None:
        """Make up for the last request that came while there was no engine."""
        missed, self._missed = self._missed, None
        if missed is not None:
            self.warm(missed)

    async def _warm(self, cursor: Cursor, delay: float) -> None:
        await asyncio.sleep(delay)
        if self.backend.state.phase != "ready":
            self._missed = cursor
            return
        if (
            not self.backend.engine.extensions
        ):  # Only ours can read a prompt without writing, and behind others.
            return
        prompt = await self._prompt(cursor)
        if not prompt.text.strip() or prompt.text == self._warmed:
            return
        try:
            await self.backend.engine.complete(generation.warming_request(prompt))
            self._warmed = prompt.text
        except WireError as error:
            self.backend.failed(error)

    # One generation ------------------------------------------------------------------------------------

    async def _join(
        self, key: tuple[object, ...], make: Callable[[], Coroutine[Any, Any, Outcome]]
    ) -> Outcome:
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(make(), name="generation"))
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiters -= 1
            if not flight.waiters:
                # The last one to lose interest stops the work; nobody may join it any more.
                flight.task.cancel()
                if self._flights.get(key) is flight:
                    del self._flights[key]

    async def _generate(self, cursor: Cursor, invoked: bool) -> Outcome:
        if not invoked and self.options.debounce:
            await asyncio.sleep(self.options.debounce / 1000)

        async def work() -> Outcome:
            reason = await self.backend.acquire(PATIENCE if invoked else 0.0)
            if reason is not None:
                self._missed = cursor
                return Outcome(reason=reason, message=self.backend.state.message)
            prompt = await self._prompt(cursor)
            if not prompt.text.strip():
                return Outcome(reason=Reason.NO_CONTEXT, prompt=prompt)
            outcome = await self._ask(cursor, prompt, self.options, invoked=invoked, show_all=invoked)
            if outcome.ranked:
                self._memory.put(cursor, outcome.ranked)
            return outcome

        return await self._guarded(cursor, work)

    async def _guarded(self, cursor: Cursor, work: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome:
        """Run, count as running, and turn every failure of the engine into a reason."""
        try:
            with self.working():
                return await work()
        except WireError as error:
            reason = self.failure(error)
            if reason in (Reason.LOADING, Reason.UNAVAILABLE):
                self._missed = cursor
            return Outcome(reason=reason, message=str(error), model=self.backend.info.id)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count as running, so that the status says busy; nothing is warmed meanwhile."""
        self.stop_warming()
        self._running += 1
        self._on_running(self._running)
        try:
            yield
        finally:
            self._running -= 1
            self._on_running(self._running)

    def failure(self, error: WireError) -> Reason:
        """The reason that an engine's error comes to; the engine is looked at where that says it should be."""
        self.backend.failed(error)
        return _reason_for(error)

    async def _prompt(self, cursor: Cursor) -> Prompt:
        count, limits = await self.counter(), self.limits()
        shapes: dict[str, Shape | None] = {"auto": None, "never": "line", "always": "block"}
        shape = shapes[self.options.multiline]
        if len(cursor.prefix) + len(cursor.suffix) < LARGE:
            return prompts.build(cursor, limits, count, shape)
        # A counter of its own: the shared one's memory of lines is no place for two threads.
        return await asyncio.to_thread(prompts.build, cursor, limits, TokenCounter(count.exact), shape)

    async def _ask(
        self, cursor: Cursor, prompt: Prompt, options: Options, *, invoked: bool, show_all: bool
    ) -> Outcome:
        engine = self.backend.engine
        request = generation.to_request(prompt, options, extensions=engine.extensions, invoked=invoked)
        confidence = 0.0 if show_all else options.min_confidence
        threshold = math.log(confidence) if confidence > 0 else None
        patience = generation.Patience(
            lambda text: filters.is_complete(text, cursor, prompt),
            threshold,
            hurry=not show_all,
            start=prompt.start,
        )
        try:
            generated = await generation.read(engine, request, patience)
        except RequestError as error:
            if is_too_long(error):
                self._estimates.refused()
            raise
        self._estimates.learn(prompt.text, generated.usage.prompt_tokens)
        timings = dict(generated.timings)
        verdicts = [filters.run(candidate, cursor, prompt) for candidate in generated.candidates]
        started = time.perf_counter()
        contenders = rank.contenders(verdicts, threshold)
        if options.suffix_ranking and engine.extensions and len(contenders) > 1:
            spent = (timings["prefill_ms"] + timings["decode_ms"]) / 1000
            low, high = SCORING_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(high, max(low, spent))):
                    pairs = [
                        rank.scoring_prompt(cursor, prompt, v.candidate) if i in contenders else None
                        for i, v in enumerate(verdicts)
                    ]
                    verdicts = await generation.score_suffixes(engine, verdicts, pairs)
            timings["score_ms"] = 1e3 * (time.perf_counter() - started)
        ranked, final = rank.rank(verdicts, cursor, threshold)
        reason = None if ranked else next((v.reason for v in final if v.reason), Reason.EMPTY)
        return Outcome(
            ranked=tuple(ranked),
            reason=reason,
            source="engine",
            prompt=prompt,
            verdicts=tuple(final),
            usage=generated.usage,
            timings=timings,
            model=generated.model or self.backend.info.id,
        )


def _inside_word(cursor: Cursor) -> bool:
    """Whether letters follow the cursor directly: what is suggested there would run into them."""
    following = cursor.suffix[:1]
    return following.isalnum() or following == "_"


def _reason_for(error: WireError) -> Reason:
    if isinstance(error, NotReadyError):
        return Reason.UNAVAILABLE if error.code == "load-failed" else Reason.LOADING
    if isinstance(error, OverloadedError):
        return Reason.BUSY
    unreachable = isinstance(error, TransportError | UnauthorizedError)
    return Reason.UNAVAILABLE if unreachable else Reason.ENGINE_ERROR


def _load_counter(path: str) -> TokenCounter:
    try:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(path)
    except (
        Exception
    ) as error:  # A missing package, or a file that it can't read: it raises bare Exception for those.
        logger.warning("the tokenizer %s can't be read, tokens are estimated: %s", path, error)
        return TokenCounter(estimate)

    def ids(text: str) -> list[int]:
        return tokenizer.encode(clean(text), add_special_tokens=False).ids

    def head(text: str, tokens: int) -> str:
        # A character whose tokens are not all among them is decoded to something else, and not counted.
        return tokenizer.decode(ids(text)[:tokens], skip_special_tokens=False)

    return TokenCounter(lambda text: len(ids(text)), head)
