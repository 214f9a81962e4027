"""The HTTP routes: JSON in, jobs to the worker, JSON or server-sent events out.

Knows starlette and the wire. Knows no torch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codegen_lsp.engine.decode import embeddings
from codegen_lsp.engine.http.access import Access, Caller
from codegen_lsp.engine.http.bodies import parsed_body
from codegen_lsp.engine.http.guard import Activity, Guard
from codegen_lsp.engine.http.infill import FimResponse, InfillResponse, parse_infill
from codegen_lsp.engine.http.plugins import parser_for
from codegen_lsp.engine.http.responses import CompletionResponse, EmbeddingsResponse, error_response
from codegen_lsp.engine.http.team.audit import AuditLog
from codegen_lsp.engine.http.team.traffic import Traffic
from codegen_lsp.engine.scheduling.jobs import Begin, Event, Job
from codegen_lsp.engine.scheduling.metrics import CONTENT_TYPE
from codegen_lsp.engine.scheduling.worker import Worker
from codegen_lsp.wire.answers import ModelInfo
from codegen_lsp.wire.errors import InternalError, RequestError, WireError
from codegen_lsp.wire.fill.info import fill_info
from codegen_lsp.wire.parsing import parse_request
from codegen_lsp.wire.requests import EXTENSIONS, CompletionRequest

if TYPE_CHECKING:
    from codegen_lsp.engine.decode.prompts import PreparedPrompt

log = logging.getLogger(__name__)

INLINE_LENGTH = 16_384
"""Prompts of up to this many characters or ids are tokenized at once; longer ones in a thread, so that other requests
are served in the meantime."""


class EngineApp:
    """The routes of one engine."""

    def __init__(
        self, worker: Worker, stop: Callable[[], None], access: Access, audit: AuditLog | None = None
    ) -> None:
        """Serve a worker to those whom `access` admits; `stop` ends the server."""
        self.worker = worker
        self.activity = Activity()
        self._stop = stop
        self.app = self._build(access, Traffic(worker.metrics.registry, worker.checkpoint.name, audit))

    def _build(self, access: Access, traffic: Traffic) -> Starlette:
        routes = [
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/v1/fim/completions", self._fim_completions, methods=["POST"]),
            Route("/infill", self._infill, methods=["POST"]),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/models/{name:path}", self._one_model, methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/ready", self._ready, methods=["GET"]),
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
        app.add_middleware(Guard, activity=self.activity, access=access, traffic=traffic)
        return app

    async def _completions(self, request: Request) -> Response:
        caller: Caller = request.scope["caller"]
        parse = parser_for(request.headers.get("user-agent", ""))
        parsed, salt = await parsed_body(request, parse, self._limit)
        self._check_model(parsed.model)
        return CompletionResponse(self.worker, *await self._submit(_clamped(parsed, caller), caller, salt))

    async def _fim_completions(self, request: Request) -> Response:
        caller: Caller = request.scope["caller"]
        parsed, salt = await parsed_body(request, parse_request, self._limit)
        self._check_model(parsed.model)
        return FimResponse(self.worker, *await self._submit(_clamped(parsed, caller), caller, salt))

    async def _infill(self, request: Request) -> Response:
        caller: Caller = request.scope["caller"]
        parsed, salt = await parsed_body(request, parse_infill, self._limit)
        self._check_model(parsed.completion.model)
        model = self.worker.model
        heals = model is not None and model.vocabulary.byte_level
        completion = replace(_clamped(parsed.completion, caller), heal=heals)
        return InfillResponse(self.worker, *await self._submit(completion, caller, salt), parsed)

    async def _embeddings(self, request: Request) -> Response:
        caller: Caller = request.scope["caller"]
        parsed, salt = await parsed_body(request, embeddings.parse, self._limit)
        texts = _clamped(parsed.texts, caller)
        self._check_model(texts.model)
        vectors: list[list[float]] = []

        def begin(prompts: list[PreparedPrompt]) -> Begin:
            return lambda reading: embeddings.compute(reading, parsed, prompts, vectors.append)

        try:
            job, events = await self._submit(texts, caller, salt, begin)
        except RequestError as error:
            raise embeddings.renamed(error) from None
        return EmbeddingsResponse(self.worker, job, events, parsed, vectors)

    @property
    def _limit(self) -> int | None:
        """Maximum number of tokens in a prompt, if the model is loaded."""
        model = self.worker.model
        return model.context if model is not None else None

    async def _submit(
        self,
        request: CompletionRequest,
        caller: Caller,
        salt: str | None,
        begin: Callable[[list[PreparedPrompt]], Begin] | None = None,
    ) -> tuple[Job, asyncio.Queue[Any]]:
        """Submit a job, which completes the request if `begin` is None; return it with the queue of its events."""
        more = len(request.suffix) + sum(len(file.text) for file in request.files)
        if sum(map(len, request.prompts)) + more <= INLINE_LENGTH:
            prompts = self.worker.prepare(request)
        else:
            prompts = await asyncio.to_thread(self.worker.prepare, request)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def put(new: Sequence[Event]) -> None:
            for event in new:
                queue.put_nowait(event)

        def deliver(*events: Event) -> None:
            try:
                loop.call_soon_threadsafe(put, events)
            except RuntimeError:
                log.debug("the server stopped before a request was answered")

        job = Job(request, prompts, deliver, begin and begin(prompts), caller.name, caller.namespace(salt))
        self.worker.submit(job)
        return job, queue

    def _check_model(self, name: str | None) -> None:
        if name is None or not name.strip():
            return
        model = self.worker.model
        aliases = model.aliases if model is not None else self.worker.checkpoint.aliases
        if name.lower() not in aliases | {self.worker.config.model.lower()}:
            error = RequestError(
                f"there is no model {name[:100]!r} here; this engine serves {self.worker.checkpoint.name}",
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
        fill = fill_info(model.fill) if model.fill is not None else None
        return ModelInfo(
            model.name,
            model.context,
            model.tokenizer_file,
            tuple(supported),
            fill=fill,
            weights=model.weights,
        )

    async def _one_model(self, request: Request) -> Response:
        self._check_model(request.path_params["name"])
        return JSONResponse(self._model_info().to_json())

    async def _health(self, request: Request) -> Response:
        if not request.scope["caller"].trusted:
            return JSONResponse({"status": "alive"})
        health = self.worker.health
        status = 200 if health.state in ("ready", "unloaded") else 503
        return JSONResponse(health.to_json(), status)

    async def _ready(self, _: Request) -> Response:
        """Say whether requests are answered now, as a load balancer or an orchestrator asks; it tells nothing else."""
        ready = self.worker.health.state in ("ready", "unloaded")
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    async def _metrics(self, _: Request) -> Response:
        return Response(self.worker.metrics.text(), media_type=CONTENT_TYPE)

    async def _unload(self, _: Request) -> Response:
        self.worker.unload()
        return JSONResponse({"status": "unloading"}, 202)

    async def _shutdown(self, _: Request) -> Response:
        self._stop()
        return JSONResponse({"status": "stopping"}, 202)


def _clamped(request: CompletionRequest, caller: Caller) -> CompletionRequest:
    """Return a request without a priority over those of other users."""
    return request if caller.local else replace(request, priority=max(0, request.priority))


async def _wire_error(_: Request, error: WireError) -> Response:
    return error_response(error)


async def _http_error(request: Request, error: HTTPException) -> Response:
    wrong = RequestError(f"{request.method} {request.url.path}: {error.detail}")
    return JSONResponse(wrong.to_json(), error.status_code, headers=error.headers)


async def _other_error(_: Request, error: Exception) -> Response:
    return error_response(InternalError(f"the engine failed: {type(error).__name__}"))
