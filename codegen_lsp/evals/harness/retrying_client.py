"""How evaluations ask an engine: patiently, a bounded number at once, and the same way again after a restart.

Knows the `Engine` protocol and its errors. An engine that still loads is waited for, a full one asked again, a lost
connection tried a few times; what is wrong with a request is not.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from codegen_lsp.wire.answers import Choice, Completion
from codegen_lsp.wire.errors import NotReadyError, OverloadedError, RequestError, WireError, is_too_long
from codegen_lsp.wire.requests import MAX_N, CompletionRequest

LOADING_SECONDS = 1800.0
"""How long a model may take to load."""
ATTEMPTS = 5
"""How often a request is tried that a broken connection or a full queue ended."""


T = TypeVar("T")

ReportProgress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


class Completer(Protocol):
    """The part of `client.Engine` that evaluations need."""

    extensions: bool

    async def complete(self, request: CompletionRequest) -> Completion:
        """The whole answer."""
        ...

    def stream(self, request: CompletionRequest) -> AsyncGenerator[Completion]:
        """The answer in chunks."""
        ...


class RetryingClient:
    """Completions of one model, for evaluations."""

    def __init__(
        self, engine: Completer, *, model: str | None = None, at_once: int = 1, pause: float = 0.5
    ) -> None:
        """`at_once` requests run side by side; `pause` is the first wait, in seconds, before another attempt."""
        self._engine = engine
        self._model = model
        self._room = asyncio.Semaphore(at_once)
        self._pause = pause

    async def ask(self, request: CompletionRequest) -> Completion:
        """The answer to a request, whatever it takes short of changing it.

        Raises:
            WireError: the request is wrong, or the engine does not come back.
        """
        if self._model is not None:
            request = replace(request, model=self._model)
        return await self.patiently(lambda: self._engine.complete(request))

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What an attempt gives at last; raises as `ask`."""
        attempts, waited, pause = 0, 0.0, self._pause
        async with self._room:
            while True:
                try:
                    return await attempt()
                except NotReadyError as error:
                    if error.code == "load-failed" or waited >= LOADING_SECONDS:
                        raise
                    waited += pause
                except RequestError:
                    raise
                except WireError as error:
                    attempts += not isinstance(error, OverloadedError)
                    waited += pause
                    if attempts >= ATTEMPTS or waited >= LOADING_SECONDS:
                        raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)

    async def samples(self, request: CompletionRequest, count: int) -> list[Choice]:
        """`count` rows for one prompt, in as few requests as the wire allows.

        Row i is drawn with the request's seed + i, so that any part of the rows can be drawn again later.
        """
        choices: list[Choice] = []
        while len(choices) < count:
            seed = None if request.seed is None else request.seed + len(choices)
            part = replace(request, n=min(MAX_N, count - len(choices)), seed=seed)
            answer = await self.ask(part)
            if not answer.choices:
                raise RequestError("the server's answer holds no choices; does it support 'n'?", param="n")
            choices += answer.choices[: part.n]
        return choices

    async def continuation(
        self, request: CompletionRequest, is_over: Callable[[str], bool] | None = None
    ) -> str:
        """The row for a prompt; the empty text where the prompt leaves no room for one.

        `is_over` says of the text so far that no more of it is wanted: from an engine of ours it isn't waited for.
        """
        try:
            if is_over is not None and self._engine.extensions:
                wanted = replace(request, model=self._model or request.model, stream=True)
                return await self.patiently(lambda: self._read(wanted, is_over))
            answer = await self.ask(request)
        except RequestError as error:
            if not is_too_long(error):
                raise
            return ""
        return answer.choices[0].text if answer.choices else ""

    async def _read(self, request: CompletionRequest, is_over: Callable[[str], bool]) -> str:
        text = ""
        async with aclosing(self._engine.stream(request)) as chunks:
            async for chunk in chunks:
                text += "".join(choice.text for choice in chunk.choices)
                if is_over(text):
                    break
        return text


async def together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it side by side. The first error ends the rest, and is raised by itself, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def seed_of(*parts: object) -> int:
    """A seed that is the same for the same parts, on every machine, and leaves room for the rows after it."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
