"""The session of one connected editor: its options, its engine, its suggestions, what is paused. Speaks no LSP.

Owns everything that lives from `initialize` to `exit`, and replaces what a change of the options makes stale.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.context.keeper import ContextKeeper, Desk
from codegen_lsp.lsp.engines.backend import EngineState, Phase
from codegen_lsp.lsp.options.options import Options
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.session.status import StatusBoard
from codegen_lsp.lsp.suggest.request_log import Method, Outcome, Record, Records
from codegen_lsp.lsp.suggest.suggestion_cache import SuggestionCache
from codegen_lsp.lsp.uris import canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from codegen_lsp.lsp.engines.backend import Backend
    from codegen_lsp.lsp.suggest.pipeline import Pipeline

logger = logging.getLogger(__name__)

WARM_DELAY = 0.3
"""Seconds without a further change after which the text above it is read into the engine's cache."""

MakeBackend = Callable[[Options, "Callable[[EngineState], None]"], "Backend"]


def make_backend(options: Options, on_change: Callable[[EngineState], None]) -> Backend:
    """Return the engine that the options ask for: one on this machine, or a server by its address.

    Raises:
        ConfigError: the options contradict each other, or no folder is safe for a socket.
    """
    from codegen_lsp.lsp.engines.remote import RemoteBackend
    from codegen_lsp.lsp.engines.supervisor import Supervisor

    if options.server:
        return RemoteBackend(
            options.server,
            options.token,
            options.timeout,
            on_change,
            options.server_model,
            fill=options.fill_in_the_middle,
            fim_format=options.fim_format,
        )
    return Supervisor(
        options.engine_config(),
        idle_timeout=options.idle_timeout,
        timeout=options.timeout,
        on_change=on_change,
    )


class Session:
    """The state behind the handlers."""

    def __init__(
        self,
        board: StatusBoard,
        on_engine: Callable[[EngineState], None],
        make: MakeBackend = make_backend,
        desk: Callable[[], Desk] = Desk,
    ) -> None:
        self.options = Options()
        self.context = ContextKeeper(desk)
        self.board = board
        self.records = Records()
        self.suggestions = SuggestionCache()
        self.backend: Backend | None = None
        self.pipeline: Pipeline | None = None
        self.paused = False
        self.paused_uris: set[str] = set()
        self._early: Cursor | None = None
        """The last cursor from before there was an engine; it is warmed once there is one."""
        self._token_server = ""
        """The address that the environment's token belongs to."""
        self._on_engine = on_engine
        self._make = make
        self._lock = asyncio.Lock()

    # Life ----------------------------------------------------------------------------------------------

    async def apply(self, options: Options) -> None:
        """Apply options; the engine is replaced only if they ask for another one."""
        options = self._with_environment_token(options)
        async with self._lock:  # Two changes of the settings in a row must not both make an engine.
            logging.getLogger("codegen_lsp").setLevel(options.log_level.upper())
            previous, self.options = self.options, options
            self.context.configure(options)
            try:
                await self._apply_to_engine(previous, options)
            except Exception as error:  # Whatever it is (a proxy, a token, a folder), the user must read it.
                logger.warning("the engine can't be used", exc_info=error)
                self._engine_changed(EngineState(Phase.ERROR, options.model, _cant_be_used(error)))
            self.board.update(enabled=options.enabled)

    def _with_environment_token(self, options: Options) -> Options:
        """Return the options with the environment's token, if it is needed and belongs to their server.

        It belongs to the first server of the session: another address may come from a source that the user does not
        control, and must not get the token.
        """
        token = os.environ.get("CODEGEN_LSP_TOKEN", "").strip()
        if not token or options.token or not options.server:
            return options
        self._token_server = self._token_server or options.server
        return replace(options, token=token) if options.server == self._token_server else options

    async def _apply_to_engine(self, previous: Options, options: Options) -> None:
        if not options.enabled:
            await self._close_backend()
        elif self.backend is None or _engine_of(previous) != _engine_of(options):
            if self.pipeline is None:
                # httpx and the parser cost a quarter of a second: not before `initialize` was answered.
                await asyncio.to_thread(importlib.import_module, "codegen_lsp.lsp.suggest.pipeline")
            await self._close_backend(unload=True)
            self._open_backend(options)
        elif self.pipeline is not None:
            self.pipeline.options = options

    async def aclose(self) -> None:
        """Close the connections to the engine."""
        await self._close_backend()

    def _open_backend(self, options: Options) -> None:
        from codegen_lsp.lsp.suggest.pipeline import Pipeline

        backend = self._make(options, self._engine_changed)
        self.backend = backend
        self.suggestions = SuggestionCache()
        self.pipeline = Pipeline(
            backend,
            options,
            self.suggestions,
            lambda running: self.board.update(running=running),
            other_files=self.context.others,
        )
        self._engine_changed(backend.state)
        backend.start()
        early, self._early = self._early, None
        if early is not None:
            self.warm(early)

    async def _close_backend(self, *, unload: bool = False) -> None:
        backend, pipeline = self.backend, self.pipeline
        self.backend = self.pipeline = None
        if pipeline is not None:
            await pipeline.aclose()
        if backend is None:
            return
        if unload:
            await backend.make_room()
        await backend.aclose()

    def _engine_changed(self, state: EngineState) -> None:
        self.board.update(engine=state)
        self._on_engine(state)
        if state.phase == "ready" and self.pipeline is not None:
            self.pipeline.engine_is_ready()

    # Requests ------------------------------------------------------------------------------------------

    async def answer(
        self, cursor: Cursor, position: tuple[int, int], method: Method, *, invoked: bool
    ) -> Record:
        """Return suggestions at a cursor, as the record of how they came about, which is kept."""
        started = time.perf_counter()
        outcome = Outcome(reason=Reason.CANCELLED)
        try:
            outcome = await self._outcome(cursor, method, invoked)
        finally:
            total = 1e3 * (time.perf_counter() - started)
            record = self.keep(cursor, position, method, outcome, invoked=invoked, total_ms=total)
        return record

    def keep(
        self,
        cursor: Cursor,
        position: tuple[int, int],
        method: Method,
        outcome: Outcome,
        *,
        invoked: bool = False,
        total_ms: float = 0.0,
    ) -> Record:
        """Keep the outcome of a request for `codegen.showLastRequest`, without the document's text."""
        number = self.records.next_id()
        record = Record(number, cursor.uri, cursor.version, position, method, invoked, outcome, total_ms)
        self.records.add(record)
        return record

    async def _outcome(self, cursor: Cursor, method: Method, invoked: bool) -> Outcome:
        self.context.visited(cursor.uri, cursor.line)
        await self.context.settle(cursor.uri)
        reason = self.refusal(cursor, method)
        if reason is not None:
            return Outcome(reason=reason)
        if self.pipeline is None:
            self._early = cursor
            failed = self.board.engine.phase == "error"
            return Outcome(
                reason=Reason.UNAVAILABLE if failed else Reason.STARTING, message=self.board.engine.message
            )
        return await self.pipeline.suggest(cursor, invoked=invoked)

    def refusal(self, cursor: Cursor, method: Method | None = None) -> Reason | None:
        """Return why no suggestions are wanted at a cursor; None if they are."""
        options = self.options
        is_method_off = (method == "inlineCompletion" and not options.inline) or (
            method == "completion" and not options.menu
        )
        if not options.enabled or self.paused or canonical(cursor.uri) in self.paused_uris or is_method_off:
            return Reason.PAUSED
        if not options.serves(cursor.language):
            return Reason.DISABLED
        if self.context.excludes(cursor.uri):
            return Reason.EXCLUDED
        if _exceeds(cursor, options.max_file_size):
            return Reason.TOO_LARGE
        return None

    def warm(self, cursor: Cursor, delay: float = 0.0) -> None:
        """Prepare the engine for a request near a cursor."""
        if self.refusal(cursor) is not None:
            return
        if self.pipeline is None:
            self._early = cursor
        else:
            self.pipeline.warm(cursor, delay)

    def forget(self, uri: str) -> None:
        """Forget a document that was closed."""
        self.context.closed(uri)
        self.suggestions.forget(uri)
        self.records.forget(uri)
        self.paused_uris.discard(canonical(uri))

    def pause(self, paused: bool | None = None, uri: str | None = None) -> bool:
        """Pause or resume suggestions, in one document or everywhere, and return the new state.

        Without `paused` the state is toggled.
        """
        if uri is not None:
            uri = canonical(uri)
            pausing = uri not in self.paused_uris if paused is None else paused
            (self.paused_uris.add if pausing else self.paused_uris.discard)(uri)
            return pausing
        self.paused = not self.paused if paused is None else paused
        self.board.update(paused=self.paused)
        return self.paused

    def counters(self) -> Mapping[str, int]:
        """Return how many suggestions were shown and accepted."""
        records = self.records
        return {
            "shown": records.shown,
            "accepted": records.accepted,
            "partlyAccepted": records.partly_accepted,
        }


def _cant_be_used(error: Exception) -> str:
    """Return a sentence for the user on why an engine can't be used."""
    why = str(error).strip().rstrip(".") or type(error).__name__
    return f"The engine can't be started: {why}."


def _engine_of(options: Options) -> tuple[object, ...]:
    """Return the part of the options that belongs to the engine: another value needs another engine."""
    if options.server:
        return options.server, options.token, options.timeout, options.server_model
    return options.engine_config(), options.idle_timeout, options.timeout


def _exceeds(cursor: Cursor, limit: int) -> bool:
    """Return whether a document has more than `limit` bytes; its text is encoded only if that is not obvious."""
    characters = len(cursor.prefix) + len(cursor.suffix)
    if characters > limit:
        return True
    if 4 * characters <= limit:
        return False
    return sum(len(part.encode("utf-8", "surrogatepass")) for part in (cursor.prefix, cursor.suffix)) > limit
