"""`POST /infill` as llama.cpp's server has it, and `POST /v1/fim/completions` as Mistral's.

Plugins that are written for these servers (llama.vim, llama.vscode, continue) work unchanged. Samplers and fields that
this engine doesn't have are accepted and without effect, as these plugins always send them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from codegen_lsp.engine.http.responses import GONE, CompletionResponse, error_response, event_message
from codegen_lsp.engine.scheduling.jobs import Done, Job
from codegen_lsp.engine.scheduling.worker import Worker
from codegen_lsp.wire.answers import Choice, Completion
from codegen_lsp.wire.errors import RequestError, WireError
from codegen_lsp.wire.parsing import parse_request
from codegen_lsp.wire.requests import MAX_FILES, CompletionRequest
from codegen_lsp.wire.schema import place_of

DEFAULT_TOKENS, MOST_TOKENS = 128, 4096
"""Maximum number of tokens of a request that names none, and of one that names no limit (-1)."""
MAX_FIELDS, MAX_FIELD = 64, 200
"""Maximum number of fields of an answer that are named, and of characters of each."""


class _Extra(Struct):
    text: str = ""
    filename: str = ""


class _InfillBody(Struct):
    input_prefix: str = ""
    input_suffix: str = ""
    prompt: str = ""
    """The part of the cursor's line before the cursor, which llama.vim keeps apart from the prefix."""
    input_extra: list[_Extra] | None = None
    n_predict: int | None = None
    temperature: Annotated[float, Meta(le=2)] | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    t_max_predict_ms: float | None = None
    response_fields: (
        Annotated[list[Annotated[str, Meta(max_length=MAX_FIELD)]], Meta(max_length=MAX_FIELDS)] | None
    ) = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class InfillRequest:
    """A request to `/infill`."""

    completion: CompletionRequest
    stream: bool = False
    seconds: float | None = None
    """Time to write after the first line; None for as long as it takes."""
    fields: tuple[str, ...] = ()
    """The fields of the answer that are wanted, as paths; none for all."""


def parse_infill(body: object) -> InfillRequest:
    """Return the request in a JSON body.

    Raises:
        RequestError: a field has the wrong type or is out of range.
    """
    if not isinstance(body, dict):
        raise RequestError("the body must be a JSON object", param=None)
    try:
        parsed = msgspec.convert(
            {name: value for name, value in body.items() if value is not None}, _InfillBody
        )
    except msgspec.ValidationError as error:
        raise RequestError(
            f"{place_of(error) or 'the body'!r}: {error}", param=place_of(error) or None
        ) from error
    count = DEFAULT_TOKENS if parsed.n_predict is None else parsed.n_predict
    extra = (parsed.input_extra or [])[-MAX_FILES:]
    completion = parse_request(
        {
            "prompt": parsed.input_prefix + parsed.prompt,
            "suffix": parsed.input_suffix,
            "files": [{"path": each.filename, "text": each.text} for each in extra],
            "model": parsed.model,
            "max_tokens": MOST_TOKENS if count < 0 else min(count, MOST_TOKENS),
            "temperature": max(0.0, parsed.temperature or 0.0),
            "top_p": parsed.top_p if parsed.top_p and 0 < parsed.top_p <= 1 else None,
            "seed": parsed.seed if parsed.seed is not None and parsed.seed >= 0 else None,
            "stop": [stop for stop in parsed.stop if stop] if isinstance(parsed.stop, list) else parsed.stop,
            "stream": True,
        }
    )
    limit = parsed.t_max_predict_ms
    return InfillRequest(
        completion,
        stream=bool(parsed.stream),
        seconds=limit / 1000 if limit is not None and limit > 0 else None,
        fields=tuple(filter(None, parsed.response_fields or ())),
    )


class InfillResponse(CompletionResponse):
    """The answer to a request to `/infill`."""

    def __init__(self, worker: Worker, job: Job, events: asyncio.Queue[Any], request: InfillRequest) -> None:
        """Answer with what the job delivers, until its end or the end of the request's time."""
        super().__init__(worker, job, events)
        self.request = request
        self._deadline: float | None = None
        self._text = ""

    @property
    def streams(self) -> bool:
        """Whether the client wants server-sent events; the job delivers its text in parts in any case."""
        return self.request.stream

    async def _send_once(self, scope: Scope, receive: Receive, send: Send) -> bool:
        choices: list[Choice] = []
        while (event := await self._next()) is not GONE:
            if isinstance(event, WireError):
                await error_response(event)(scope, receive, send)
                return True
            if event is None or isinstance(event, Done):
                body = self._answer("".join(choice.text for choice in choices), choices)
                await JSONResponse(self._wanted(body))(scope, receive, send)
                return event is not None
            choices += event
        return False

    async def _stream(self, send: Send) -> bool:
        await self._start_stream(send)
        choices: list[Choice] = []
        while (event := await self._next()) is not GONE:
            if isinstance(event, WireError):
                await send(event_message(event.to_json()))
            elif event is None or isinstance(event, Done):
                await send(event_message(self._answer("", choices)))
            else:
                choices += event
                text = "".join(choice.text for choice in event)
                await send(event_message({"index": 0, "content": text, "stop": False}))
                continue
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return event is not None
        return False

    async def _next(self) -> Any:
        """Return the next event; None if the time to write is over."""
        remaining = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        try:
            async with asyncio.timeout(remaining):
                event = await self.events.get()
        except TimeoutError:
            return None
        if isinstance(event, list | tuple) and self._deadline is None and self.request.seconds is not None:
            self._text += "".join(choice.text for choice in event)
            if "\n" in self._text.lstrip("\n"):
                self._deadline = time.monotonic() + self.request.seconds
        return event

    def _answer(self, text: str, choices: Sequence[Choice]) -> dict[str, Any]:
        progress = self.job.progress
        prompt_ms, predicted_ms = progress.timings["prefill_ms"], progress.timings["decode_ms"]
        reason = next((choice.finish_reason for choice in choices if choice.finish_reason), None)
        read, written = progress.prompt_tokens - progress.cached_tokens, progress.completion_tokens
        return {
            "index": 0,
            "content": text,
            "stop": True,
            "stop_type": "eos" if reason == "stop" else "limit",
            "model": self.worker.checkpoint.name,
            "tokens_predicted": written,
            "tokens_evaluated": progress.prompt_tokens,
            "tokens_cached": progress.prompt_tokens + written,
            "truncated": False,
            "generation_settings": {"n_predict": self.job.request.max_tokens},
            "timings": {
                "cache_n": progress.cached_tokens,
                **_timings("prompt", read, prompt_ms),
                **_timings("predicted", written, predicted_ms),
            },
        }

    def _wanted(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the fields that the client asked for, by their paths: `timings/prompt_n`."""
        wanted: dict[str, Any] = {}
        for path in self.request.fields:
            value: Any = body
            for name in path.split("/"):
                value = value.get(name) if isinstance(value, dict) else None
            if value is not None:
                wanted[path] = value
        return wanted if self.request.fields else body


def _timings(kind: str, count: int, milliseconds: float) -> dict[str, float]:
    return {
        f"{kind}_n": count,
        f"{kind}_ms": round(milliseconds, 3),
        f"{kind}_per_token_ms": round(milliseconds / count, 3) if count else 0.0,
        f"{kind}_per_second": round(1000 * count / milliseconds, 3) if milliseconds else 0.0,
    }


class FimResponse(CompletionResponse):
    """The answer to a request to `/v1/fim/completions`: the text stands where a chat's message does."""

    def _json(self, completion: Completion) -> dict[str, Any]:
        key = "delta" if self.streams else "message"
        body = completion.to_json()
        body["object"] = "chat.completion.chunk" if self.streams else "chat.completion"
        for choice in body["choices"]:
            choice[key] = {"role": "assistant", "content": choice.pop("text")}
        return body
