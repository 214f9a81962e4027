"""Answer a job's client as the job proceeds: with one JSON body, or with server-sent events.

A client that leaves, at whatever moment, cancels its job.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
import uuid
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from codegen_lsp.engine.decode import embeddings
from codegen_lsp.engine.scheduling.jobs import Done, Job
from codegen_lsp.engine.scheduling.worker import Worker
from codegen_lsp.wire.answers import Choice, Completion, Usage, join_chunks
from codegen_lsp.wire.errors import WireError

log = logging.getLogger(__name__)

GONE = object()
"""In a queue of events: the client has left."""


def error_response(error: WireError) -> Response:
    """Return the response for an error."""
    # Plain ASCII: messages repeat parts of the request, which may hold half a surrogate pair.
    headers = {} if error.retry_after is None else {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    return Response(json.dumps(error.to_json()), error.status, headers, media_type="application/json")


class CompletionResponse(Response):
    """The answer to a completion request."""

    def __init__(self, worker: Worker, job: Job, events: asyncio.Queue[Any]) -> None:
        self.worker = worker
        self.job = job
        self.events = events
        self.id = f"cmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; cancel the job if the client leaves before the end."""
        scope["progress"] = self.job.progress
        watcher = asyncio.create_task(self._watch(receive))
        ended = False
        try:
            ended = await (self._stream(send) if self.streams else self._send_once(scope, receive, send))
        except OSError:
            log.debug("a client left while it was answered")
        finally:
            watcher.cancel()
            if not ended:
                self.worker.cancel(self.job)

    @property
    def streams(self) -> bool:
        """Whether the client wants server-sent events."""
        return self.job.request.stream

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.events.put_nowait(GONE)

    async def _send_once(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Send one JSON body; return false if the client has left."""
        chunks: list[Completion] = []
        while True:
            event = await self.events.get()
            if event is GONE:
                return False
            if isinstance(event, WireError):
                await error_response(event)(scope, receive, send)
                return True
            if isinstance(event, Done):
                await JSONResponse(self._body(chunks, event))(scope, receive, send)
                return True
            chunks.append(self._completion(tuple(event)))

    def _body(self, chunks: list[Completion], done: Done) -> dict[str, Any]:
        return self._json(join_chunks([*chunks, self._completion((), done)]))

    def _json(self, completion: Completion) -> dict[str, Any]:
        """Return a whole answer, or a chunk of one, as it is sent."""
        return completion.to_json()

    async def _stream(self, send: Send) -> bool:
        """Send server-sent events; return false if the client has left."""
        await self._start_stream(send)
        while True:
            events = [await self.events.get()]
            while not self.events.empty():
                events.append(self.events.get_nowait())
            if GONE in events:
                return False
            ended = isinstance(events[-1], Done | WireError)
            body = b"".join(map(self._sent_event, events)) + (b"data: [DONE]\n\n" if ended else b"")
            await send({"type": "http.response.body", "body": body, "more_body": not ended})
            if ended:
                return True

    def _sent_event(self, event: Any) -> bytes:
        """Return what is sent of an event of the job."""
        request = self.job.request
        if isinstance(event, WireError):
            return server_sent_event(event.to_json())
        if not isinstance(event, Done):
            chunk = self._completion(tuple(event), usage=request.continuous_usage)
        elif request.include_usage or request.continuous_usage:
            chunk = self._completion((), event)
        else:
            return b""
        return server_sent_event(self._json(chunk))

    async def _start_stream(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

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


class EmbeddingsResponse(CompletionResponse):
    """The answer to a request for embeddings, which is never streamed."""

    def __init__(
        self,
        worker: Worker,
        job: Job,
        events: asyncio.Queue[Any],
        request: embeddings.EmbeddingsRequest,
        vectors: list[list[float]],
    ) -> None:
        """Answer with `vectors`, which the job fills."""
        super().__init__(worker, job, events)
        self.request = request
        self.vectors = vectors

    def _body(self, _: list[Completion], done: Done) -> dict[str, Any]:
        tokens = done.progress.prompt_tokens
        return embeddings.answer(self.request, self.vectors, self.worker.checkpoint.name, tokens)


def event_message(body: dict[str, Any]) -> Message:
    """Return the message that sends a server-sent event."""
    return {"type": "http.response.body", "body": server_sent_event(body), "more_body": True}


def server_sent_event(body: dict[str, Any]) -> bytes:
    """Return a document as a server-sent event."""
    # Plain ASCII: some clients take U+2028, U+2029 and U+0085 for line ends.
    data = json.dumps(body, separators=(",", ":"), allow_nan=False)
    return f"data: {data}\n\n".encode()
