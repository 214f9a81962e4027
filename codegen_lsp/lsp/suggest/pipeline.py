"""The way of one request: cursor → cache → prompt → engine → candidates → filtered → ranked.

Knows the order of the steps, which requests share a generation, and which reason each failure comes to. Speaks no
LSP. Everything that it holds belongs to one backend and one set of options, and goes with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cachetools import LRUCache

from codegen_lsp.lsp.code.cursor import Cursor, Shape
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.engines.backend import Backend
from codegen_lsp.lsp.fitting.idle_imports import words_for_idle_imports
from codegen_lsp.lsp.fitting.receivers import words_at
from codegen_lsp.lsp.options.options import Options
from codegen_lsp.lsp.prompts import prompt as prompts
from codegen_lsp.lsp.prompts.others import NO_FILES, OtherFiles
from codegen_lsp.lsp.prompts.prompt import Prompt
from codegen_lsp.lsp.prompts.token_counter import Estimates, TokenCounter
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.suggest import filters, generation, rank
from codegen_lsp.lsp.suggest.generation import Generated, Patience
from codegen_lsp.lsp.suggest.request_log import Outcome
from codegen_lsp.lsp.suggest.suggestion_cache import SuggestionCache
from codegen_lsp.lsp.suggest.tokenizer_file import load_counter
from codegen_lsp.lsp.suggest.values import Candidate, Verdict
from codegen_lsp.lsp.suggest.warming import Warmer
from codegen_lsp.wire.errors import (
    NotReadyError,
    OverloadedError,
    RequestError,
    TransportError,
    UnauthorizedError,
    WireError,
    is_too_long,
)
from codegen_lsp.wire.fill.formats import LEFT_TO_RIGHT
from codegen_lsp.wire.transport.session_id import session_id

logger = logging.getLogger(__name__)

PATIENCE = 3.0
"""How long a request by hand waits for an engine that was asleep, in seconds."""
LARGE = 200_000
"""From this many characters of a document on, its prompt is built in a thread, so that typing goes on."""
SCORING_SECONDS = (0.1, 1.0)
"""Bounds of the time that scoring suffixes may take; within them it may take as long as the generation did.

A request by hand has the upper bound: a server that reads each scored prompt anew needs longer than for its rows."""

CLOSE, CLOSE_BY_HAND = 1.0, 2.0
"""How much worse than the best, in nats, a candidate may be that the text after the cursor scores; see `rank.close`."""

DOCUMENTS = 50
"""Number of documents of which it is remembered what their prompts gave to other files."""

MAX_SUFFIX_LAST, MAX_SUFFIX_FIRST = 128, 512
"""Maximum number of tokens of the text after the cursor, if it comes after the prefix and before it."""

SHAPES: dict[str, Shape | None] = {"auto": None, "never": "line", "always": "block"}
"""The shape that the option `multiline` asks for; None lets the place decide."""

Work = Callable[[], Coroutine[Any, Any, Outcome]]


@dataclass(slots=True)
class _SharedGeneration:
    """A generation, and how many requests wait for it."""

    task: asyncio.Task[Outcome]
    waiters: int = 0


class Pipeline:
    """Answers for cursors, from one backend."""

    def __init__(
        self,
        backend: Backend,
        options: Options,
        suggestions: SuggestionCache,
        on_running: Callable[[int], None] = lambda _: None,
        *,
        other_files: Callable[[str], OtherFiles] = lambda _: NO_FILES,
        scoring_seconds: tuple[float, float] = SCORING_SECONDS,
    ) -> None:
        """`on_running` gets the number of running generations, whenever that changes.

        `other_files` returns what is known of other files for a document's URI, without waiting.
        Evaluations set other `scoring_seconds`, so that a busy machine does not change what they measure.
        """
        self.backend = backend
        self.options = options
        self._suggestions = suggestions
        self._on_running = on_running
        self.other_files = other_files
        self._given: LRUCache[str, tuple[OtherFiles, int]] = LRUCache(maxsize=DOCUMENTS)
        """What the last prompt of each document gave to which other files."""
        self._scoring_seconds = scoring_seconds
        self._generations: dict[tuple[object, ...], _SharedGeneration] = {}
        self._running = 0
        self._estimates = Estimates()
        self._counter: asyncio.Task[TokenCounter] | None = None
        self._counter_file = ""
        self._warmer = Warmer(backend, lambda cursor: self._prompt(Site.of(cursor)))

    async def suggest(self, cursor: Cursor, *, invoked: bool) -> Outcome:
        """Return what to show at a cursor, or why nothing. Raises nothing but cancellation."""
        if not invoked:
            cached = self._suggestions.get(cursor)
            if cached:
                self.stop_warming()
                return Outcome(cached, source="memory", model=self.backend.info.id)
            if _is_inside_word(cursor):
                return Outcome(reason=Reason.INSIDE_WORD)
        # The menu and the ghost text ask at the same place at the same time: one generation serves both.
        key = (cursor.uri, cursor.prefix, cursor.suffix, cursor.selected, invoked)
        return await self._share(key, lambda: self._generate(cursor, invoked))

    async def write(self, cursor: Cursor, prompt: Prompt) -> Outcome:
        """Return one long continuation of a prompt that the caller has made (*Write the body*)."""
        options = replace(self.options, candidates=1)

        async def work() -> Outcome:
            return await self._complete(Site.of(cursor), prompt, options, invoked=False, show_all=True)

        return await self._guarded(cursor, work)

    async def aclose(self) -> None:
        """Stop all work; the requests that wait for it are cancelled."""
        self.stop_warming()
        tasks = [shared.task for shared in self._generations.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def limits(self) -> prompts.PromptLimits:
        """Return how long prompts and completions may be with this model and these options."""
        options = self.options
        context = min(self.backend.info.max_model_len, options.prompt_tokens)
        fill = self.backend.info.fill if options.fill_in_the_middle != "never" else None
        fills = fill is not None and fill.fills
        return prompts.PromptLimits(
            context=context,
            line_tokens=options.max_tokens_line,
            block_tokens=options.max_tokens_block,
            body_tokens=options.max_tokens_body,
            suffix_tokens=suffix_tokens(fill.order, context) if fill is not None and fills else 0,
            fill_tokens=fill.tokens if fill is not None else 0,
            order=fill.order if fill is not None else LEFT_TO_RIGHT,
            others_share=options.other_files_share,
            file_separator=self._file_separator(),
        )

    def _file_separator(self) -> int | None:
        fill = self.backend.info.fill
        if fill is None or not fill.separates_files or not self.backend.engine.extensions:
            return None
        return fill.file_tokens

    async def counter(self) -> TokenCounter:
        """Return a counter with the model's tokenizer if that is a file of this machine, otherwise an estimate."""
        path = self.backend.info.tokenizer_file
        if not path:
            return self._estimates.counter
        if self._counter is None or path != self._counter_file:
            self._counter_file = path
            self._counter = asyncio.create_task(asyncio.to_thread(load_counter, path), name="tokenizer")
        # The first request may be cancelled; the loaded tokenizer serves all later ones.
        return await asyncio.shield(self._counter)

    # Warming -------------------------------------------------------------------------------------------

    def warm(self, cursor: Cursor, delay: float = 0.0) -> None:
        """Read the prompt at a cursor into the engine's cache, in the background; the newest call wins."""
        self.stop_warming()
        if self.options.warm:
            self._warmer.start(cursor, delay)

    def stop_warming(self) -> None:
        """Stop the warming that runs; what it has read stays in the engine's cache."""
        self._warmer.stop()

    def engine_is_ready(self) -> None:
        """Warm the place of the last request that came while there was no engine."""
        missed = self._warmer.take_missed()
        if missed is not None:
            self.warm(missed)

    # One generation ------------------------------------------------------------------------------------

    async def _share(self, key: tuple[object, ...], make: Work) -> Outcome:
        """Wait for the generation with this key, which is started if there is none."""
        shared = self._generations.get(key)
        if shared is None:
            task = asyncio.create_task(make(), name="generation")
            shared = self._generations[key] = _SharedGeneration(task)
        shared.waiters += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.waiters -= 1
            if not shared.waiters:
                # Without a waiting request the generation stops, and later requests must not join it.
                shared.task.cancel()
                if self._generations.get(key) is shared:
                    del self._generations[key]

    async def _generate(self, cursor: Cursor, invoked: bool) -> Outcome:
        if not invoked and self.options.debounce:
            await asyncio.sleep(self.options.debounce / 1000)

        async def work() -> Outcome:
            reason = await self.backend.acquire(PATIENCE if invoked else 0.0)
            if reason is not None:
                self._warmer.missed(cursor)
                return Outcome(reason=reason, message=self.backend.state.message)
            others = self.other_files(cursor.uri)
            site = Site.of(replace(cursor, foreign=others.names))
            prompt = self._with_words(await self._prompt(site), site, invoked=invoked)
            self._given[cursor.uri] = others, prompt.given
            if not prompt.text.strip():
                return Outcome(reason=Reason.NO_CONTEXT, prompt=prompt)
            outcome = await self._complete(site, prompt, self.options, invoked=invoked, show_all=invoked)
            if outcome.ranked:
                self._suggestions.put(cursor, outcome.ranked)
            return outcome

        return await self._guarded(cursor, work)

    async def _guarded(self, cursor: Cursor, work: Work) -> Outcome:
        """Run, count as running, and turn every failure of the engine into a reason."""
        try:
            with self.working():
                return await work()
        except WireError as error:
            reason = self.failure(error)
            if reason in (Reason.LOADING, Reason.UNAVAILABLE):
                self._warmer.missed(cursor)
            return Outcome(reason=reason, message=str(error), model=self.backend.info.id)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count as running, so that the status says busy; nothing is warmed in the meantime."""
        self.stop_warming()
        self._running += 1
        self._on_running(self._running)
        try:
            yield
        finally:
            self._running -= 1
            self._on_running(self._running)

    def failure(self, error: WireError) -> Reason:
        """Return the reason that an engine's error comes to; the backend looks at the engine if it should."""
        self.backend.failed(error)
        return _reason_for(error)

    async def _prompt(self, site: Site) -> Prompt:
        counter, limits = await self.counter(), self.limits()
        uri, shape = site.cursor.uri, SHAPES[self.options.multiline]
        others, given = self.other_files(uri), self.given(uri)
        if len(site.cursor.prefix) + len(site.cursor.suffix) < LARGE:
            return prompts.build(site, limits, counter, shape, others, given)
        # A counter of its own: two threads must not share one cache of lines.
        return await asyncio.to_thread(
            prompts.build, site, limits, TokenCounter(counter.exact), shape, others, given
        )

    def _with_words(self, prompt: Prompt, site: Site, *, invoked: bool) -> Prompt:
        """Add what candidates begin with to a prompt, for an engine that can limit them."""
        if "words" not in self.backend.info.extensions:
            return prompt
        words = words_at(site) if self.options.tells_names else ()
        return replace(prompt, words=words, offers=words_for_idle_imports(site) if invoked else ())

    def given(self, uri: str) -> int | None:
        """Return the tokens that a document's last prompt gave to other files; None if they were others."""
        others, given = self._given.get(uri, (None, None))
        return given if others is self.other_files(uri) else None

    async def _complete(
        self, site: Site, prompt: Prompt, options: Options, *, invoked: bool, show_all: bool
    ) -> Outcome:
        """Generate candidates for a prompt, filter and rank them; `show_all` waives the confidence threshold."""
        confidence = 0.0 if show_all else options.min_confidence
        threshold = math.log(confidence) if confidence > 0 else None
        early: dict[Candidate, Verdict] = {}

        def settled(candidate: Candidate) -> None:
            verdict = early[candidate] = filters.run(candidate, site, prompt)
            rank.look(verdict, site)

        patience = Patience(
            lambda text: filters.is_complete(text, site, prompt),
            threshold,
            hurry=not show_all,
            settled=settled,
        )
        generated = await self._read(prompt, options, patience, site.cursor, invoked=invoked)
        timings = dict(generated.timings)
        informed = self._informed(site)
        if informed is not site:
            early.clear()
        verdicts = [early.get(each) or filters.run(each, informed, prompt) for each in generated.candidates]
        if options.suffix_ranking and (not prompt.suffix or self._ranks_middles()):
            close = rank.close(verdicts, informed, threshold, CLOSE_BY_HAND if invoked else CLOSE)
            pairs = _scoring_pairs(informed, prompt, verdicts, close)
            verdicts = await self._score_suffixes(informed, verdicts, pairs, timings, invoked=invoked)
        ranked, final = rank.rank(verdicts, informed, threshold)
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

    def _informed(self, site: Site) -> Site:
        """Return a site with the names that are known now: those of a new document are read while the model writes."""
        names = self.other_files(site.cursor.uri).names
        return site if names is site.cursor.foreign else Site.of(replace(site.cursor, foreign=names))

    def _ranks_middles(self) -> bool:
        """Return whether a candidate of a model that has read the text after the cursor is ranked by it as well."""
        fill = self.backend.info.fill
        return fill is not None and fill.suffix_ranking

    async def _read(
        self, prompt: Prompt, options: Options, patience: Patience, cursor: Cursor, *, invoked: bool
    ) -> Generated:
        engine, remote = self.backend.engine, self.backend.is_remote
        session = session_id(cursor.uri)
        request = generation.to_request(
            prompt, options, extensions=engine.extensions, invoked=invoked, remote=remote
        )
        requests = [replace(request, session=session, draft=self._suggestions.expected(cursor))]
        if not engine.extensions and not options.temperature:
            requests = list(generation.with_greedy_row(requests[0]))
        hints = options.candidates > 1 and (invoked or not remote)
        try:
            (generated, *more), hinted = await asyncio.gather(
                asyncio.gather(*(generation.read(engine, request, patience) for request in requests)),
                self._read_hinted(prompt, patience, session) if hints else _no_candidates(),
            )
        except RequestError as error:
            if is_too_long(error):
                self._estimates.refused()
            raise
        self._estimates.learn(prompt.text + prompt.suffix, generated.usage.prompt_tokens)
        sampled = [candidate for rows in more for candidate in rows.candidates]
        return replace(generated, candidates=(*generated.candidates, *sampled, *hinted))

    async def _read_hinted(self, prompt: Prompt, patience: Patience, session: str) -> tuple[Candidate, ...]:
        """Return one more candidate that starts with what the code around hints at; nothing without a hint."""
        if not (prompt.start or prompt.offers):
            return ()
        engine = self.backend.engine
        request = replace(generation.hinted_request(prompt, extensions=engine.extensions), session=session)
        try:
            return (await generation.read(engine, request, replace(patience, start=prompt.start))).candidates
        except WireError:
            return ()  # the rows without a hint say what is wrong

    async def _score_suffixes(
        self,
        site: Site,
        verdicts: list[Verdict],
        pairs: Sequence[tuple[str, str] | None],
        timings: dict[str, float],
        *,
        invoked: bool,
    ) -> list[Verdict]:
        """Score the text after the cursor where that can tell candidates apart; adds its time to `timings`.

        The verdicts stay as they are if it takes too long. A user who asked by hand waits longer.
        """
        if len(set(pairs) - {None}) < 2 or not await self.backend.can_score():
            return verdicts
        spent = (timings["prefill_ms"] + timings["decode_ms"]) / 1000
        least, most = self._scoring_seconds
        started = time.perf_counter()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most if invoked else min(most, max(least, spent))):
                verdicts = await generation.score_suffixes(
                    self.backend.engine, verdicts, pairs, session_id(site.cursor.uri)
                )
        timings["score_ms"] = 1e3 * (time.perf_counter() - started)
        return verdicts


def _scoring_pairs(
    site: Site, prompt: Prompt, verdicts: Sequence[Verdict], scored: Collection[int]
) -> list[tuple[str, str] | None]:
    """Return for each verdict (text, suffix to score), or None if it is not to be scored or nothing follows."""
    return [
        rank.scoring_prompt(site, prompt, verdict.candidate) if index in scored else None
        for index, verdict in enumerate(verdicts)
    ]


async def _no_candidates() -> tuple[Candidate, ...]:
    return ()


def suffix_tokens(order: str, context: int) -> int:
    """Return how many tokens of the text after the cursor a model is asked with.

    With the prefix first they are read again after each keystroke, with the suffix first only when it changes.
    """
    return min(MAX_SUFFIX_LAST, context // 16) if order == "psm" else min(MAX_SUFFIX_FIRST, context // 8)


def _is_inside_word(cursor: Cursor) -> bool:
    """Return whether letters follow the cursor directly: a suggestion would run into them."""
    following = cursor.suffix[:1]
    return following.isalnum() or following == "_"


def _reason_for(error: WireError) -> Reason:
    if isinstance(error, NotReadyError):
        return Reason.UNAVAILABLE if error.code == "load-failed" else Reason.LOADING
    if isinstance(error, OverloadedError):
        return Reason.BUSY
    unreachable = isinstance(error, TransportError | UnauthorizedError)
    return Reason.UNAVAILABLE if unreachable else Reason.ENGINE_ERROR
