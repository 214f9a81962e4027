"""Reading prompts into the engine's cache before a request needs them.

Knows one background task and the last request that came too early. Decides nothing about when to warm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.engines.backend import Backend
from codegen_lsp.lsp.prompts.prompt import Prompt
from codegen_lsp.lsp.suggest import generation
from codegen_lsp.wire.errors import WireError
from codegen_lsp.wire.transport.session_id import session_id

MakePrompt = Callable[[Cursor], Coroutine[Any, Any, Prompt]]


class Warmer:
    """The warming of one backend: at most one prompt at a time."""

    def __init__(self, backend: Backend, make_prompt: MakePrompt) -> None:
        self._backend = backend
        self._make_prompt = make_prompt
        self._task: asyncio.Task[None] | None = None
        self._warmed = ""
        self._missed: Cursor | None = None

    def start(self, cursor: Cursor, delay: float) -> None:
        """Warm the prompt at a cursor after `delay` seconds."""
        self._task = asyncio.create_task(self._warm(cursor, delay), name="warm")

    def stop(self) -> None:
        """Stop the warming that runs; what it has read stays in the engine's cache."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def missed(self, cursor: Cursor) -> None:
        """Remember the place of a request that came while the engine was not ready."""
        self._missed = cursor

    def take_missed(self) -> Cursor | None:
        """Return the place of the last request that came too early, and forget it."""
        missed, self._missed = self._missed, None
        return missed

    async def _warm(self, cursor: Cursor, delay: float) -> None:
        await asyncio.sleep(delay)
        if self._backend.state.phase != "ready":
            self._missed = cursor
            return
        if not self._backend.engine.extensions:
            return  # Other servers can't read a prompt without writing, and with low priority.
        prompt = await self._make_prompt(cursor)
        if not prompt.text.strip() or prompt.text == self._warmed:
            return
        try:
            request = replace(generation.warming_request(prompt), session=session_id(cursor.uri))
            await self._backend.engine.complete(request)
            self._warmed = prompt.text
        except WireError as error:
            self._backend.failed(error)
