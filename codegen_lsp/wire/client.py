"""The client of an engine: a protocol, and its implementation over HTTP.

`HttpEngineClient` serves the local engine, a shared one and completions servers of other projects. It sends and returns
values of `wire`; who starts engines is not its business.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from codegen_lsp.wire.answers import Completion, Health, ModelInfo
from codegen_lsp.wire.decoding import (
    completion_from_json,
    decode_json,
    embeddings_from_json,
    health_from_json,
    models_from_json,
)
from codegen_lsp.wire.errors import (
    ConnectionLostError,
    InvalidAnswerError,
    NotReadyError,
    OverloadedError,
    RequestError,
    TransportError,
    WireError,
    error_from_json,
)
from codegen_lsp.wire.requests import CompletionRequest
from codegen_lsp.wire.surrogates import SurrogateJoiner, clean
from codegen_lsp.wire.transport.allowance import Allowance
from codegen_lsp.wire.transport.dialect import Dialect
from codegen_lsp.wire.transport.filling import MAX_STOPS, Filling, as_completion
from codegen_lsp.wire.transport.healing import ContradictedError, Healer, ragged_ends, without_end
from codegen_lsp.wire.transport.http import (
    make_client,
    mapped_errors,
    refuse_redirect,
    server_addresses,
    without_password,
)
from codegen_lsp.wire.transport.retries import Retries, retry_after
from codegen_lsp.wire.transport.session_id import HEADER as SESSION_HEADER
from codegen_lsp.wire.transport.stops import StopCutter
from codegen_lsp.wire.transport.streams import events, has_known_end, read_body, read_refusal

if TYPE_CHECKING:
    import httpx

HEALTH_SECONDS = 5.0
MAX_PAGE = 2**20
"""Maximum number of bytes of a health page or a list of models."""
PROBE = CompletionRequest(prompts=("\n",), max_tokens=1)
"""The shortest request that every completions server answers."""


class EngineClient(Protocol):
    """What the language server asks of an engine, wherever it runs."""

    extensions: bool
    """Whether the engine understands this project's own request fields (`wire.EXTENSIONS`)."""

    def stream(self, request: CompletionRequest) -> AsyncGenerator[Completion]:
        """Yield the chunks of an answer as they come. Closing the generator stops the engine's work.

        Raises:
            WireError: the engine refused the request, broke, or could not be reached.
        """
        ...

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return the whole answer at once. Raises as `stream` does."""
        ...

    async def health(self) -> Health:
        """Return the engine's state, also while it can't answer requests. Raises as `stream` does."""
        ...

    async def models(self) -> tuple[ModelInfo, ...]:
        """Return the models that it serves. Raises as `stream` does."""
        ...

    async def unload(self) -> None:
        """Free the model; the next request loads it again. Raises as `stream` does."""
        ...

    async def shutdown(self) -> None:
        """Stop the engine's process. Raises as `stream` does."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class HttpEngineClient:
    """The client of an engine behind a unix socket (`socket`) or an address (`url`, with or without `/v1`).

    `url` may hold several addresses: the next one is used from when one can't be reached or is not ready. Requests
    that a busy server refuses are sent again a few times; those to the local engine, which knows better, are not.
    """

    def __init__(
        self, *, socket: Path | None = None, url: str = "", token: str = "", timeout: float = 60.0
    ) -> None:
        """Connect to nothing yet.

        Raises:
            ConfigError: the address or the token can't be used.
            UnavailableError: the environment's proxies or certificates can't be used.
        """
        self.extensions = socket is not None
        """Whether the engine understands this project's own request fields (`wire.EXTENSIONS`)."""
        self.model = ""
        """The model of requests that name none; empty leaves the choice to the server."""
        self.filling: Filling | None = None
        """How a server of another project is asked for the text before a suffix; None asks left to right."""
        self._dialect = Dialect()
        self._is_local = socket is not None
        urls = ("",) if socket else server_addresses(url)
        self._addresses = [str(socket)] if socket else list(map(without_password, urls))
        self._clients = [make_client(socket=socket, url=u, token=token, timeout=timeout) for u in urls]
        self._current = 0

    @property
    def address(self) -> str:
        """The address in use, for messages; without a password."""
        return self._addresses[self._current]

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Completion]:
        """See `EngineClient.stream`. For a server that can't heal tokens, the ragged end of the prompt is cut off."""
        for ragged in ragged_ends(request) if request.heal and not self.extensions else ():
            healer = Healer(ragged, request.n)
            try:
                async with aclosing(self._stream(without_end(request, ragged))) as chunks:
                    async for chunk in chunks:
                        yield healer.take(chunk)
                return
            except ContradictedError:
                pass  # The model would go on in another way: in the end it goes on from what is there.
        async with aclosing(self._stream(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _stream(self, request: CompletionRequest) -> AsyncGenerator[Completion]:
        joiner = SurrogateJoiner()
        async with self._answered(request) as response:
            if "text/event-stream" not in response.headers.get("content-type", "").lower():
                yield await self._whole(request, response)
                return
            allowance, cutter = Allowance(request), StopCutter(self._unsent_stops(request))
            began = finished = False
            async with aclosing(events(response, whole=self._is_local)) as stream:
                async for data in stream:
                    answer = completion_from_json(as_completion(decode_json(data)))
                    chunk = cutter.cut(joiner.mend(allowance.take(answer)))
                    began = True
                    finished = finished or any(choice.finish_reason for choice in chunk.choices)
                    yield chunk
            if not finished and not (began and has_known_end(response)):
                raise ConnectionLostError(f"{self.address} closed the stream before its end")

    async def complete(self, request: CompletionRequest) -> Completion:
        """See `EngineClient.complete`."""
        async with self._answered(request) as response:
            return await self._whole(request, response)

    async def _whole(self, request: CompletionRequest, response: httpx.Response) -> Completion:
        completion = completion_from_json(as_completion(decode_json(await read_body(response))))
        completion = SurrogateJoiner().mend(Allowance(request).take(completion))
        return StopCutter(self._unsent_stops(request)).cut(completion)

    async def health(self) -> Health:
        """See `EngineClient.health`."""
        async with self._request("GET", "/health", timeout=HEALTH_SECONDS) as response:
            refuse_redirect(response, self.address)
            status, page = response.status_code, await read_body(response, MAX_PAGE)
        if status == 404:  # A completions server without the page is up.
            return Health("ready", "")
        try:
            body = decode_json(page)
        except InvalidAnswerError:
            body = page.decode("utf-8", "replace")
        health = health_from_json(body)
        if status < 500 or health.state not in ("ready", "unloaded"):
            return health
        if status == 503:  # Completions servers answer so while their model loads.
            return Health("loading", "", f"{self.address} is not ready yet (status 503)")
        raise error_from_json(status, body)

    async def models(self) -> tuple[ModelInfo, ...]:
        """See `EngineClient.models`; a completions server without `/v1/models` has none."""
        async with self._request("GET", "/v1/models") as response:
            if response.status_code not in (404, 405, 501):
                await self._check(response)
                return models_from_json(decode_json(await read_body(response, MAX_PAGE)))
        await self.complete(
            PROBE
        )  # Without a list of models, this tells a completions server from a wrong address.
        return ()

    async def embeddings(
        self, texts: Sequence[str], *, model: str | None = None, **options: Any
    ) -> list[list[float]]:
        """Return a vector for each text; `options` are the engine's own: pooling, layer, normalize.

        Raises as `stream` does.
        """
        body = {"input": list(texts), "encoding_format": "float", **options}
        named = model or self.model
        async with self._request(
            "POST", "/v1/embeddings", body | ({"model": named} if named else {})
        ) as response:
            await self._check(response)
            return embeddings_from_json(decode_json(await read_body(response)), len(texts))

    async def metrics(self) -> str:
        """Return the engine's counters in Prometheus' text format. Raises as `stream` does."""
        async with self._request("GET", "/metrics") as response:
            await self._check(response)
            return (await read_body(response)).decode("utf-8", "replace")

    async def unload(self) -> None:
        """See `EngineClient.unload`."""
        await self._order("/unload")

    async def shutdown(self) -> None:
        """See `EngineClient.shutdown`."""
        await self._order("/shutdown")

    async def aclose(self) -> None:
        """See `EngineClient.aclose`."""
        for client in self._clients:
            await client.aclose()

    async def _order(self, path: str) -> None:
        async with self._request("POST", path) as response:
            await self._check(response)

    @asynccontextmanager
    async def _answered(self, request: CompletionRequest) -> AsyncIterator[httpx.Response]:
        """Send a request, without the fields that a server of another project refuses, and again if it is busy."""
        body, without = self._body(request), frozenset[str]()
        headers = {SESSION_HEADER: request.session} if request.session and not self._is_local else {}
        retries = Retries()
        while True:
            adapted, wait = self._dialect.adapt(body, without), 0.0
            path = self.filling.path(adapted) if self.filling is not None else "/v1/completions"
            sent = self.filling.adapt(adapted) if self.filling is not None else adapted
            async with self._request("POST", path, sent, headers=headers) as response:
                try:
                    await self._check(response)
                except RequestError as error:
                    blamed = frozenset() if self.extensions else self._dialect.blamed(error, adapted)
                    if not blamed:
                        raise
                    without |= blamed
                except (OverloadedError, NotReadyError) as error:
                    wait = self._wait(error, retries)
                else:
                    self._dialect.accepted(without)
                    yield response
                    return
            await asyncio.sleep(wait)

    def _wait(self, error: OverloadedError | NotReadyError, retries: Retries) -> float:
        """Return the seconds until a refused request is sent again; raise the error if it is not."""
        wait = None if self._is_local else retries.wait(error)
        if wait is None:
            raise error
        if isinstance(error, NotReadyError) and self._fail_over(self._current):
            return 0.0
        return wait

    def _body(self, request: CompletionRequest) -> dict[str, Any]:
        prompts = tuple(clean(p) if isinstance(p, str) else p for p in request.prompts)
        model = request.model or self.model or None
        stop, suffix = request.stop, clean(request.suffix)
        if not self.extensions:
            stop = self._stops(request)[:MAX_STOPS]
            suffix = suffix if self.filling is not None else ""
        request = replace(request, prompts=prompts, model=model, stop=stop, suffix=suffix)
        return request.to_json(extensions=self.extensions)

    def _stops(self, request: CompletionRequest) -> tuple[str, ...]:
        fills = request.suffix and self.filling is not None and not self.extensions
        return self.filling.stops(request.stop) if self.filling is not None and fills else request.stop

    def _unsent_stops(self, request: CompletionRequest) -> tuple[str, ...]:
        return () if self.extensions else self._stops(request)[MAX_STOPS:]

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None, **options: Any
    ) -> AsyncIterator[httpx.Response]:
        """Send a request to the address in use, or to the next one that can be reached."""
        async with AsyncExitStack() as stack:
            for remaining in reversed(range(len(self._clients))):
                number = self._current
                try:
                    with mapped_errors(self._addresses[number]):
                        stream = self._clients[number].stream(method, path, json=body, **options)
                        response = await stack.enter_async_context(stream)
                    break
                except TransportError:
                    if not remaining:
                        raise
                    self._fail_over(number)
            with mapped_errors(self._addresses[number]):
                yield response

    def _fail_over(self, failed: int) -> bool:
        """Use the next address, unless another request has changed it already; return false if there is only one."""
        if self._current == failed:
            self._current = (failed + 1) % len(self._clients)
        return len(self._clients) > 1

    async def _check(self, response: httpx.Response) -> None:
        refuse_redirect(response, self.address)
        if not 200 <= response.status_code < 300:
            error = _refusal(response.status_code, await read_refusal(response))
            error.retry_after = retry_after(response.headers.get("retry-after", ""))
            raise error


def _refusal(status: int, text: str) -> WireError:
    try:
        return error_from_json(status, json.loads(text))
    except (ValueError, RecursionError):
        return error_from_json(status, text)
