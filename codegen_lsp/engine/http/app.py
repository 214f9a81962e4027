"""The HTTP routes: JSON in, jobs to the worker, JSON or server-sent events out.

Knows starlette and the wire. Knows no torch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codegen_lsp.engine.decode import embeddings
from codegen_lsp.engine.http.bodies import json_body
from codegen_lsp.engine.http.guard import Activity, Guard
from codegen_lsp.engine.http.responses import CompletionResponse, EmbeddingsResponse, error_response
from codegen_lsp.engine.jobs import Begin, Event, Job
from codegen_lsp.engine.metrics import CONTENT_TYPE
from codegen_lsp.engine.worker import Worker
from codegen_lsp.wire.answers import ModelInfo
from codegen_lsp.wire.errors import InternalError, RequestError, WireError
from codegen_lsp.wire.parsing import parse_request
from codegen_lsp.wire.requests import EXTENSIONS, CompletionRequest

if TYPE_CHECKING:
    from codegen_lsp.engine.decode.prompts import PreparedPrompt

log = logging.getLogger(__name__)

INLINE_CHARACTERS = 16_384
"""Prompts up to this length are tokenized at once; longer ones in a thread, so that other requests are served."""


class EngineApp:
    """The routes of one engine."""

    def __init__(self, worker: Worker, stop: Callable[[], None], token: str | None = None) -> None:
        """Serve a worker; `stop` ends the server, and with a `token` every route but /health requires it."""
        self.worker = worker
        self.activity = Activity()
        self._stop = stop
        self.app = self._build(token)

    def _build(self, token: str | None) -> Starlette:
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
        app.add_middleware(Guard, activity=self.activity, token=token)
        return app

    async def _completions(self, request: Request) -> Response:
        parsed = parse_request(await json_body(request))
        self._check_model(parsed.model)
        job, events = await self._submit(parsed)
        return CompletionResponse(self.worker, job, events)

    async def _embeddings(self, request: Request) -> Response:
        parsed = embeddings.parse(await json_body(request))
        self._check_model(parsed.texts.model)
        vectors: list[list[float]] = []

        def begin(prompts: list[PreparedPrompt]) -> Begin:
            return lambda reading: embeddings.compute(reading, parsed, prompts, vectors.append)

        try:
            job, events = await self._submit(parsed.texts, begin)
        except RequestError as error:
            raise embeddings.renamed(error) from None
        return EmbeddingsResponse(self.worker, job, events, parsed, vectors)

    async def _submit(
        self, request: CompletionRequest, begin: Callable[[list[PreparedPrompt]], Begin] | None = None
    ) -> tuple[Job, asyncio.Queue[Any]]:
        """Submit a job, which completes the request if `begin` is None; return it with the queue of its events."""
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
        return JSONResponse({"object": "list", "data": [self._model_info().to_json()]})

    def _model_info(self) -> ModelInfo:
        model = self.worker.model
        if model is None:
            return ModelInfo(self.worker.checkpoint.name, extensions=EXTENSIONS)
        supported = (e for e in EXTENSIONS if e != "heal" or model.vocabulary.byte_level)
        return ModelInfo(model.name, model.context, model.tokenizer_file, tuple(supported))

    async def _health(self, _: Request) -> Response:
        health = self.worker.health
        status = 200 if health.state in ("ready", "unloaded") else 503
        return JSONResponse(health.to_json(), status)

    async def _metrics(self, _: Request) -> Response:
        return Response(self.worker.metrics.text(), media_type=CONTENT_TYPE)

    async def _unload(self, _: Request) -> Response:
        self.worker.unload()
        return JSONResponse({"status": "unloading"}, 202)

    async def _shutdown(self, _: Request) -> Response:
        self._stop()
        return JSONResponse({"status": "stopping"}, 202)


async def _wire_error(_: Request, error: WireError) -> Response:
    return error_response(error)


async def _http_error(request: Request, error: HTTPException) -> Response:
    wrong = RequestError(f"{request.method} {request.url.path}: {error.detail}")
    return JSONResponse(wrong.to_json(), error.status_code, headers=error.headers)


async def _other_error(_: Request, error: Exception) -> Response:
    return error_response(InternalError(f"the engine failed: {type(error).__name__}"))
