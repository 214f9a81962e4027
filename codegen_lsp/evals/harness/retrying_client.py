"""Ask an engine as evaluations do: patiently, with a bounded number of concurrent requests, reproducibly.

Waits for an engine that still loads, retries after a full queue or a lost connection, and raises at once if the
request is wrong.
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
"""Time limit for a model to load."""
ATTEMPTS = 5
"""Maximum number of attempts after broken connections."""


T = TypeVar("T")

ReportProgress = Callable[[int, int], None]
"""Called with the number of finished items and the number of all items."""


class Completer(Protocol):
    """The part of `EngineClient` that evaluations need."""

    extensions: bool

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return the complete answer."""
        ...

    def stream(self, request: CompletionRequest) -> AsyncGenerator[Completion]:
        """Yield the answer in chunks."""
        ...


class RetryingClient:
    """Completions of one model, for evaluations."""

    def __init__(
        self, engine: Completer, *, model: str | None = None, at_once: int = 1, pause: float = 0.5
    ) -> None:
        """Allow `at_once` concurrent requests; `pause` is the wait before the second attempt, in seconds."""
        self._engine = engine
        self._model = model
        self._room = asyncio.Semaphore(at_once)
        self._pause = pause

    async def ask(self, request: CompletionRequest) -> Completion:
        """Return the answer to a request, with as many attempts as it takes.

        Raises:
            WireError: the request is wrong, or the engine does not recover.
        """
        if self._model is not None:
            request = replace(request, model=self._model)
        return await self.patiently(lambda: self._engine.complete(request))

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat an attempt until it succeeds, and return its result; raises as `ask`."""
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
        """Return `count` rows for one prompt, in as few requests as the wire allows.

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
        """Return the continuation of a prompt; the empty text if the prompt leaves no room for one.

        `is_over` says that the text so far is enough; the stream of our own engine is then left early.
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
    """Run all coroutines concurrently. The first error cancels the others, and is raised alone, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:
                group.create_task(coroutine)
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def seed_of(*parts: object) -> int:
    """Return a seed that is the same for the same parts on every machine, and below 2**31."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
