"""What is streamed: events that have come by then go in one message, in their order."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from codegen_lsp.engine.decode.progress import DecodeProgress
from codegen_lsp.engine.http.responses import GONE, CompletionResponse
from codegen_lsp.engine.scheduling.jobs import Done, Job
from codegen_lsp.engine.scheduling.worker import Worker
from codegen_lsp.wire.answers import Choice
from codegen_lsp.wire.errors import InternalError
from codegen_lsp.wire.requests import CompletionRequest


class Cancelled:
    """The part of a worker that answers need; notes which jobs were cancelled."""

    checkpoint = SimpleNamespace(name="m")

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def cancel(self, job: Job) -> None:
        self.jobs.append(job)


async def answered(*events: Any) -> tuple[list[bytes], list[Job]]:
    """Return the bodies that are sent for events that have all come, and the jobs that were cancelled."""
    worker, queue, bodies = Cancelled(), asyncio.Queue[Any](), []
    job = Job(CompletionRequest(("a",), stream=True, include_usage=True), [], lambda *_: None)
    for event in events:
        queue.put_nowait(event)

    async def receive() -> dict[str, str]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        bodies.append(message.get("body"))

    await CompletionResponse(cast("Worker", worker), job, queue)({}, receive, send)
    return bodies[1:], worker.jobs


def documents(body: bytes) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


@pytest.mark.asyncio
async def test_events_that_have_come_go_in_one_message() -> None:
    choices = [[Choice(0, text)] for text in ("a", "b")]
    (body,), cancelled = await answered(*choices, Done(DecodeProgress(), 0.0))
    first, second, last, done = documents(body)
    assert [part["choices"][0]["text"] for part in (first, second)] == ["a", "b"]
    assert last["usage"]["completion_tokens"] == 0
    assert done == "[DONE]"
    assert not cancelled


@pytest.mark.asyncio
async def test_an_error_comes_after_what_came_before_it() -> None:
    (body,), _ = await answered([Choice(0, "a")], InternalError("no"))
    part, error, done = documents(body)
    assert part["choices"][0]["text"] == "a"
    assert error["error"]["message"] == "no"
    assert done == "[DONE]"


@pytest.mark.asyncio
async def test_nothing_is_sent_to_a_client_that_has_left() -> None:
    bodies, cancelled = await answered([Choice(0, "a")], GONE)
    assert not bodies
    assert len(cancelled) == 1
