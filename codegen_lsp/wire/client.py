"""The way to an engine: a protocol, and its implementation over HTTP.

Knows HTTP, server-sent events and how a connection fails; speaks `wire` values to its callers. Knows nothing
of LSP and of who starts engines. httpx is imported with the first engine that is made, not with this module.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from codegen_lsp.wire.answers import Completion, Health, ModelInfo
from codegen_lsp.wire.errors import InternalError, WireError, error_from_json
from codegen_lsp.wire.requests import CompletionRequest

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 2.0
HEALTH_SECONDS = 5.0


class TransportError(WireError):
    """The engine gave no whole answer.

    ```
    WireError
    └── TransportError
        ├── UnavailableError     nobody listens there: no engine runs, or the address is wrong
        ├── ConnectionLostError  it went away in the middle of an answer
        └── TimedOutError        it listens, but did not say a word for too long
    ```
    """


class UnavailableError(TransportError):
    """Nobody listens at the address."""


class ConnectionLostError(TransportError):
    """The engine went away in the middle of an answer."""


class TimedOutError(TransportError):
    """The engine did not answer in time."""


class EngineClient(Protocol):
    """What the language server asks of an engine, wherever it runs."""

    extensions: bool
    """Whether it understands this project's own request fields (`wire.EXTENSIONS`)."""

    def stream(self, request: CompletionRequest) -> AsyncGenerator[Completion]:
        """The chunks of an answer as they come. Closing the generator stops the engine's work.

        Raises:
            WireError: the engine refused, broke, or could not be reached.
        """
        ...

    async def complete(self, request: CompletionRequest) -> Completion:
        """The whole answer at once. Raises as `stream` does."""
        ...

    async def health(self) -> Health:
        """The engine's state, also while it can't answer requests. Raises as `stream` does."""
        ...

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models that it serves. Raises as `stream` does."""
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
    """An engine behind a unix socket (`socket`) or an address (`url`, without `/v1`)."""

    def __init__(
        self, *, socket: Path | None = None, url: str = "", token: str = "", timeout: float = 60.0
    ) -> None:
        import httpx

        self._httpx = httpx
        self.address = str(socket) if socket else url
        self.extensions = socket is not None
        """Whether the engine understands this project's own request fields (`wire.EXTENSIONS`)."""
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=8, keepalive_expiry=30)
        self._client = httpx.AsyncClient(
            base_url="http://engine" if socket else url,
            transport=httpx.AsyncHTTPTransport(uds=str(socket), limits=limits) if socket else None,
            # A proxy of the environment is for hosts elsewhere, never for this machine.
            trust_env=not (socket or is_loopback(url)),
            limits=limits,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
        )

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Completion]:
        """See `EngineClient.stream`."""
        body = self._body(request)
        async with (
            self._mapped_errors(),
            self._client.stream("POST", "/v1/completions", json=body) as response,
        ):
            if response.status_code != 200:
                await response.aread()
                raise _refusal(response)
            if "text/event-stream" not in response.headers.get("content-type", ""):
                await response.aread()
                yield Completion.from_json(_json(response))
                return
            async for line in response.aiter_lines():
                if not line.startswith("data:"):
                    continue
                data = line[5:].strip()
                if data == "[DONE]":
                    return
                yield Completion.from_json(_loads(data))
            raise ConnectionLostError("the engine closed the stream before its end")

    async def complete(self, request: CompletionRequest) -> Completion:
        """See `EngineClient.complete`."""
        return Completion.from_json(await self._call("POST", "/v1/completions", self._body(request)))

    async def health(self) -> Health:
        """See `EngineClient.health`."""
        async with self._mapped_errors():
            response = await self._client.get("/health", timeout=HEALTH_SECONDS)
        if response.status_code == 404:  # A completions server without the page is up.
            return Health("ready", "")
        try:
            body = response.json()
        except ValueError:
            body = None
        health = Health.from_json(body)
        if response.status_code < 500 or health.state not in ("ready", "unloaded"):
            return health
        if response.status_code == 503:  # What a completions server answers with while its model loads.
            return Health("loading", "", f"{self.address} is not ready yet (status 503)")
        raise _refusal(response)

    async def models(self) -> tuple[ModelInfo, ...]:
        """See `EngineClient.models`."""
        body = await self._call("GET", "/v1/models")
        listed = body.get("data")
        return tuple(ModelInfo.from_json(m) for m in listed or () if isinstance(m, dict))

    async def embeddings(
        self, texts: Sequence[str], *, model: str | None = None, **options: Any
    ) -> list[list[float]]:
        """A vector for each text; `options` are the engine's own: pooling, layer, normalize.

        Raises as `stream` does.
        """
        body = {"input": list(texts), "encoding_format": "float", **options}
        answer = await self._call("POST", "/v1/embeddings", body | ({"model": model} if model else {}))
        data = answer.get("data")
        if not isinstance(data, list) or len(data) != len(texts):
            raise InternalError("the server's answer holds no embeddings; does it serve them?")
        return [list(entry["embedding"]) for entry in sorted(data, key=lambda entry: entry.get("index", 0))]

    async def metrics(self) -> str:
        """The engine's counters in Prometheus' text format. Raises as `stream` does."""
        async with self._mapped_errors():
            response = await self._client.get("/metrics")
        if response.status_code != 200:
            raise _refusal(response)
        return response.text

    async def unload(self) -> None:
        """See `EngineClient.unload`."""
        await self._call("POST", "/unload")

    async def shutdown(self) -> None:
        """See `EngineClient.shutdown`."""
        await self._call("POST", "/shutdown")

    async def aclose(self) -> None:
        """See `EngineClient.aclose`."""
        await self._client.aclose()

    def _body(self, request: CompletionRequest) -> dict[str, Any]:
        prompts = tuple(clean(p) if isinstance(p, str) else p for p in request.prompts)
        return replace(request, prompts=prompts).to_json(extensions=self.extensions)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        async with self._mapped_errors():
            response = await self._client.request(method, path, json=body)
        if not 200 <= response.status_code < 300:
            raise _refusal(response)
        if path in ("/unload", "/shutdown"):
            return {}
        return _json(response)

    @asynccontextmanager
    async def _mapped_errors(self) -> AsyncIterator[None]:
        # The one place where httpx's errors become ours.
        httpx = self._httpx
        try:
            yield
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.UnsupportedProtocol,
            httpx.InvalidURL,
        ) as error:
            raise UnavailableError(f"no engine answers at {self.address}") from error
        except httpx.TimeoutException as error:
            raise TimedOutError(f"the engine at {self.address} did not answer in time") from error
        except (httpx.TransportError, httpx.StreamError) as error:
            raise ConnectionLostError(f"the connection to {self.address} broke") from error


def clean(text: str) -> str:
    """Text that UTF-8 can hold, of the same length: halves of surrogate pairs become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def is_loopback(url: str) -> bool:
    """Whether an address can only be this machine."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _refusal(response: httpx.Response) -> WireError:
    try:
        body = response.json()
    except ValueError:
        body = response.text
    return error_from_json(response.status_code, body)


def _json(response: httpx.Response) -> dict[str, Any]:
    return _loads(response.text)


def _loads(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise InternalError("the server's answer is not JSON; is this a completions server?") from error
    if not isinstance(body, dict):
        raise InternalError("the server's answer is not a JSON object; is this a completions server?")
    return body
