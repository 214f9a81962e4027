"""The HTTP routes: JSON in, jobs to the worker, JSON or server-sent events out.

Knows starlette and the wire. Knows no torch. A client that leaves, at whatever moment, cancels its job.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codegen_lsp.engine.decode import embeddings
from codegen_lsp.engine.worker import Begin, Done, Event, Job, Worker
from codegen_lsp.wire.answers import Choice, Completion, ModelInfo, Usage, join_chunks
from codegen_lsp.wire.errors import InternalError, RequestError, UnauthorizedError, WireError
from codegen_lsp.wire.parsing import parse_request
from codegen_lsp.wire.requests import EXTENSIONS, CompletionRequest

if TYPE_CHECKING:
    from codegen_lsp.engine.decode.generate import Prepared

log = logging.getLogger(__name__)

MAX_BODY = 16 * 2**20
"""Bytes of a request's body."""

INLINE_CHARACTERS = 16_384
"""Prompts up to this length are tokenized on the spot; longer ones in a thread, so that others are served."""

Gone = object()
"""In a job's queue: the client has left."""


class Activity:
    """When somebody last used the engine; health checks and metrics do not count."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.open = 0

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last use; 0 while a request is open."""
        return 0.0 if self.open else time.monotonic() - self.last


class EngineApp:
    """The routes of one engine."""

    def __init__(self, worker: Worker, stop: Callable[[], None], token: str | None = None) -> None:
        """`stop` ends the server; with a `token` every route but /health asks for it."""
        self.worker = worker
        self.activity = Activity()
        self._stop = stop
        self._token = token
        self.app = self._build()

    def _build(self) -> Starlette:
        routes = [
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/unload", self._unload, methods=["POST"]),
            Route("/shutdown", self._shutdown, methods=["POST"]),
        ]
        handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
            WireError: _wire_error,
            HTTPException: _http_error,
            Exception: _other_error,
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.add_middleware(_Guard, engine=self)
        return app

    def authorized(self, header: str) -> bool:
        """Whether an `Authorization` header holds the token."""
        if self._token is None:
            return True
        kind, _, given = header.partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token.encode())

    async def _completions(self, request: Request) -> Response:
        parsed = parse_request(await _json_body(request))
        self._check_model(parsed.model)
        job, events = await self._submit(parsed)
        return _Answer(self.worker, job, events)

    async def _embeddings(self, request: Request) -> Response:
        parsed = embeddings.parse(await _json_body(request))
        self._check_model(parsed.texts.model)
        vectors: list[list[float]] = []

        def begin(prompts: list[Prepared]) -> Begin:
            return lambda model, cache, progress, chunk: embeddings.compute(
                model, cache, parsed, prompts, vectors.append, progress, chunk
            )

        try:
            job, events = await self._submit(parsed.texts, begin)
        except RequestError as error:
            raise embeddings.renamed(error) from None
        return _EmbeddingsAnswer(self.worker, job, events, parsed, vectors)

    async def _submit(
        self, request: CompletionRequest, begin: Callable[[list[Prepared]], Begin] | None = None
    ) -> tuple[Job, asyncio.Queue[Any]]:
        """A job for the worker, and where its events arrive; it completes the request where `begin` is None."""
        size = sum(len(p) for p in request.prompts if isinstance(p, str))
        if size <= INLINE_CHARACTERS:
            prompts = self.worker.prepare(request)
        else:
            prompts = await asyncio.to_thread(self.worker.prepare, request)
        events: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def deliver(event: Event) -> None:
            try:
                loop.call_soon_threadsafe(events.put_nowait, event)
            except RuntimeError:
                log.debug("the server stopped before a request was answered")

        return self.worker.submit(request, prompts, deliver, begin and begin(prompts)), events

    def _check_model(self, name: str | None) -> None:
        if name is None or not name.strip():
            return
        model = self.worker.model
        aliases = model.aliases if model is not None else self.worker.checkpoint.aliases
        if name.lower() not in aliases | {self.worker.config.model.lower()}:
            error = RequestError(
                f"there is no model {name!r} here; this engine serves {self.worker.checkpoint.name}",
                param="model",
                code="model_not_found",
            )
            error.status = 404
            raise error

    async def _models(self, _: Request) -> Response:
        model = self.worker.model
        info = ModelInfo(self.worker.checkpoint.name, extensions=EXTENSIONS)
        if model is not None:
            usable = (e for e in EXTENSIONS if e != "heal" or model.vocabulary.byte_level)
            info = ModelInfo(model.name, model.context, model.tokenizer_file, tuple(usable))
        return JSONResponse({"object": "list", "data": [info.to_json()]})

    async def _health(self, _: Request) -> Response:
        health = self.worker.health
        status = 200 if health.state in ("ready", "unloaded") else 503
        return JSONResponse(health.to_json(), status)

    async def _metrics(self, _: Request) -> Response:
        return Response(self.worker.metrics.text(), media_type="text/plain; version=0.0.4")

    async def _unload(self, _: Request) -> Response:
        self.worker.unload()
        return JSONResponse({"status": "unloading"}, 202)

    async def _shutdown(self, _: Request) -> Response:
        self._stop()
        return JSONResponse({"status": "stopping"}, 202)


class _Guard:
    """Checks the token, and notes when the engine is used."""

    def __init__(self, app: ASGIApp, engine: EngineApp) -> None:
        self.app = app
        self.engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if path != "/health":
            headers = dict(scope["headers"])
            if not self.engine.authorized(headers.get(b"authorization", b"").decode("latin-1")):
                error = UnauthorizedError("the bearer token is missing or wrong")
                await JSONResponse(error.to_json(), error.status)(scope, receive, send)
                return
        if not path.startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        activity = self.engine.activity
        activity.open += 1
        try:
            await self.app(scope, receive, send)
        finally:
            activity.open -= 1
            activity.last = time.monotonic()


class _Answer(Response):
    """The answer to a completion request, as the job gives it: whole, or as server-sent events."""

    def __init__(self, worker: Worker, job: Job, events: asyncio.Queue[Any]) -> None:
        self.worker = worker
        self.job = job
        self.events = events
        self.id = f"cmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watcher = asyncio.create_task(self._watch(receive))
        ended = False
        try:
            ended = await (
                self._stream(send) if self.job.request.stream else self._whole(scope, receive, send)
            )
        except OSError:
            log.debug("a client left while it was answered")
        finally:
            watcher.cancel()
            if not ended:
                self.worker.cancel(self.job)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.events.put_nowait(Gone)

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> bool:
        chunks: list[Completion] = []
        while True:
            event = await self.events.get()
            if event is Gone:
                return False
            if isinstance(event, WireError):
                await _respond(event)(scope, receive, send)
                return True
            if isinstance(event, Done):
                await JSONResponse(self._body(chunks, event))(scope, receive, send)
                return True
            chunks.append(self._completion(tuple(event)))

    def _body(self, chunks: list[Completion], done: Done) -> dict[str, Any]:
        return join_chunks([*chunks, self._completion((), done)]).to_json()

    async def _stream(self, send: Send) -> bool:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        request = self.job.request
        while True:
            event = await self.events.get()
            if event is Gone:
                return False
            if isinstance(event, WireError):
                await send(_event(event.to_json()))
            elif isinstance(event, Done):
                if request.include_usage or request.continuous_usage:
                    await send(_event(self._completion((), event).to_json()))
            else:
                chunk = self._completion(tuple(event), usage=request.continuous_usage)
                await send(_event(chunk.to_json()))
                continue
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})
            return True

    def _completion(
        self, choices: tuple[Choice, ...], done: Done | None = None, *, usage: bool = False
    ) -> Completion:
        progress = self.job.progress
        counts = None
        if done is not None or usage:
            counts = Usage(progress.prompt_tokens, progress.completion_tokens, progress.cached_tokens)
        timings: dict[str, float] = {}
        if done is not None:
            timings = {"queue_ms": done.queue_ms, **progress.timings}
            timings = {name: round(value, 3) for name, value in timings.items()}
        model = self.worker.checkpoint.name
        return Completion(self.id, model, self.created, choices, counts, timings)


class _EmbeddingsAnswer(_Answer):
    """The answer to a request for embeddings, which is never streamed."""

    def __init__(
        self,
        worker: Worker,
        job: Job,
        events: asyncio.Queue[Any],
        request: embeddings.EmbeddingsRequest,
        vectors: list[list[float]],
    ) -> None:
        super().__init__(worker, job, events)
        self.request = request
        self.vectors = vectors

    def _body(self, _: list[Completion], done: Done) -> dict[str, Any]:
        tokens = done.progress.prompt_tokens
        return embeddings.answer(self.request, self.vectors, self.worker.checkpoint.name, tokens)


def _event(body: dict[str, Any]) -> Message:
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return {"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True}


async def _json_body(request: Request) -> object:
    """The body of a request.

    Raises:
        RequestError: it is no JSON, or too long (status 413).
    """
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_BODY:
                error = RequestError(f"the body has more than {MAX_BODY} bytes", code="body-too-large")
                error.status = 413
                raise error
            parts.append(part)
    except ClientDisconnect:
        raise RequestError("the client left before its request was complete") from None
    try:
        return json.loads(b"".join(parts))
    except (ValueError, RecursionError):
        raise RequestError("the body is no JSON", code="malformed") from None


def _respond(error: WireError) -> Response:
    # Plain ASCII: what a client sent comes back in messages, and may hold half a surrogate pair.
    return Response(json.dumps(error.to_json()), error.status, media_type="application/json")


async def _wire_error(_: Request, error: WireError) -> Response:
    return _respond(error)


async def _http_error(request: Request, error: HTTPException) -> Response:
    wrong = RequestError(f"{request.method} {request.url.path}: {error.detail}")
    return JSONResponse(wrong.to_json(), error.status_code, headers=error.headers)


async def _other_error(_: Request, error: Exception) -> Response:
    return _respond(InternalError(f"the engine failed: {type(error).__name__}"))
