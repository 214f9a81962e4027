"""Turns, cancellation and failures, with a real model in a real worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch

from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.model.model import prefill_chunk_on
from codegen_lsp.engine.model.prefix_cache import CONTEXTS, MOST_BYTES, usual_limit
from codegen_lsp.engine.scheduling.jobs import Done, Event, Job
from codegen_lsp.engine.scheduling.metrics import Metrics
from codegen_lsp.engine.scheduling.worker import Worker
from codegen_lsp.lsp.options.option_docs import describe
from codegen_lsp.wire.config import EngineConfig
from codegen_lsp.wire.errors import InternalError, NotReadyError, OverloadedError, RequestError, WireError
from codegen_lsp.wire.requests import CompletionRequest

TEXT = (Path(__file__).resolve().parents[3] / "codegen_lsp" / "wire" / "answers.py").read_text(
    encoding="utf-8"
)


class Client:
    """Submits requests, and keeps what is delivered, in order."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.events: list[tuple[str, Event]] = []
        self.ends: dict[str, threading.Event] = {}

    def submit(self, name: str, prompt: str = "def f(", client: str = "", **fields: Any) -> Job:
        request = CompletionRequest(
            (prompt,), **{"temperature": 0.0, "max_tokens": 4, "stream": True, **fields}
        )
        self.ends[name] = threading.Event()

        def deliver(*events: Event) -> None:
            self.events += [(name, event) for event in events]
            if any(isinstance(event, Done | WireError) for event in events):
                self.ends[name].set()

        job = Job(request, self.worker.prepare(request), deliver, client=client)
        self.worker.submit(job)
        return job

    def end(self, name: str) -> Done | WireError:
        assert self.ends[name].wait(60), f"{name} was not answered"
        end = next(e for n, e in self.events if n == name and isinstance(e, Done | WireError))
        assert isinstance(end, Done | WireError)
        return end

    def order(self) -> list[str]:
        return [name for name, _ in self.events]


def wait_for(worker: Worker, state: str) -> None:
    deadline = time.monotonic() + 60
    while worker.health.state != state:
        assert time.monotonic() < deadline, worker.health
        time.sleep(0.01)


def make_worker(folder: Path, **options: Any) -> Worker:
    config = EngineConfig(model=str(folder), **{"dtype": "float32", "prefill_chunk": 8, **options})
    return Worker(config, locate.of(config), Metrics())


@pytest.fixture
def worker(tiny_folder: Path) -> Iterator[Worker]:
    worker = make_worker(tiny_folder)
    worker.start()
    wait_for(worker, "ready")
    yield worker
    assert worker.close(30)


@pytest.fixture
def client(worker: Worker) -> Client:
    return Client(worker)


def value(metric: Any) -> float:
    return float(metric._value.get())


@pytest.mark.parametrize(("size", "limit"), [(None, None), (5000, 5000), (0, 0)])
def test_the_prefix_cache_suits_the_model_unless_its_size_is_given(
    tiny_folder: Path, size: int | None, limit: int | None
) -> None:
    worker = make_worker(tiny_folder, prefix_cache=size)
    worker.start()
    wait_for(worker, "ready")
    model, cache = worker.model, worker.cache
    assert worker.close(30)
    assert model is not None
    expected = CONTEXTS * model.context * model.bytes_per_token if limit is None else limit
    assert 0 <= expected < MOST_BYTES
    assert (cache.limit if cache is not None else 0) == expected


def test_a_long_request_does_not_make_a_short_one_wait(client: Client) -> None:
    client.submit("long", TEXT[:300], max_tokens=100)
    client.submit("short", max_tokens=2)
    assert isinstance(client.end("short"), Done)
    assert not client.ends["long"].is_set()
    assert isinstance(client.end("long"), Done)


def test_a_large_model_gets_no_more_than_a_gigabyte() -> None:
    assert usual_limit(2048, 2**20) == MOST_BYTES == 2**30
    (setting,) = (option for option in describe() if option["name"] == "prefixCache")
    assert f"auto allows {CONTEXTS} full contexts, up to 1 GiB" in setting["description"]


def test_requests_take_turns_step_by_step(client: Client) -> None:
    for name in "abc":
        client.submit(name, max_tokens=120)
    for name in "abc":
        client.end(name)
    # What one client gets of a step that verifies guessed tokens, or of a few short ones, comes together.
    turns = [name for name, _ in groupby(client.order())]
    middle = turns[20:]
    assert len(middle) > 20
    assert all(set(middle[i : i + 3]) == set("abc") for i in range(len(middle) - 3))


def test_background_requests_run_only_while_there_are_no_others(client: Client, worker: Worker) -> None:
    client.submit("warm", TEXT[:400], max_tokens=0, priority=1)
    client.submit("urgent", max_tokens=40)
    client.end("warm")
    client.end("urgent")
    order = client.order()
    assert order.index("warm") > max(i for i, name in enumerate(order) if name == "urgent")


def test_a_cancelled_request_stops_and_says_nothing_more(client: Client, worker: Worker) -> None:
    job = client.submit("long", TEXT[:100], max_tokens=150)
    while not client.events:
        time.sleep(0.001)
    worker.cancel(job)
    deadline = time.monotonic() + 10
    while worker.busy:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    said = len(client.events)
    steps = value(worker.metrics.steps.labels("decode"))
    time.sleep(0.1)
    assert (len(client.events), value(worker.metrics.steps.labels("decode"))) == (said, steps)
    assert steps < 150
    assert value(worker.metrics.cancelled) == 1
    assert isinstance((client.submit("next"), client.end("next"))[1], Done)


def test_a_prefill_that_is_cancelled_leaves_its_part_in_the_cache(client: Client, worker: Worker) -> None:
    prompt = TEXT[:350]
    job = client.submit("cut", prompt, max_tokens=1)
    while value(worker.metrics.steps.labels("prefill")) < 3:
        time.sleep(0.001)
    worker.cancel(job)
    client.submit("again", prompt, max_tokens=1)
    end = client.end("again")
    assert isinstance(end, Done)
    assert end.progress.cached_tokens >= 3 * 8


@pytest.mark.parametrize("chunk", [0, 40])
def test_a_prompt_is_read_in_steps_as_configured_or_as_the_device_takes_them(
    tiny_folder: Path, chunk: int
) -> None:
    worker = make_worker(tiny_folder, prefill_chunk=chunk)
    client = Client(worker)
    worker.start()
    wait_for(worker, "ready")
    client.submit("prompt", TEXT[:350], max_tokens=1)
    end = client.end("prompt")
    assert isinstance(end, Done)
    steps = -(-end.progress.prefilled_tokens // (chunk or 256))
    assert value(worker.metrics.steps.labels("prefill")) == steps == (5 if chunk else 1)
    assert worker.close(30)


def test_a_gpu_reads_more_tokens_in_a_step() -> None:
    chunks = {name: prefill_chunk_on(torch.device(name)) for name in ("cpu", "mps", "cuda:0", "cuda")}
    assert chunks == {"cpu": 256, "mps": 256, "cuda:0": 2048, "cuda": 2048}


def test_too_many_are_refused(tiny_folder: Path) -> None:
    worker = make_worker(tiny_folder, max_waiting=2)
    client = Client(worker)
    worker.start()
    wait_for(worker, "ready")
    # One runs in the background, two wait for it.
    refused = 0
    for i in range(100):
        try:
            client.submit(f"warm{i}", TEXT[: 300 + i], max_tokens=0, priority=1)
        except OverloadedError:
            refused += 1
    assert refused
    assert worker.close(30)


def test_a_client_that_floods_leaves_places_for_the_others(client: Client, worker: Worker) -> None:
    def flood() -> None:
        for i in range(60):
            client.submit(f"flood{i}", max_tokens=100, client="a")

    with pytest.raises(OverloadedError, match="of your requests are waiting"):
        flood()
    client.submit("other", max_tokens=2, client="b")
    assert isinstance(client.end("other"), Done)
    assert sum(end.is_set() for name, end in client.ends.items() if name.startswith("flood")) < 10


def test_requests_wait_until_their_keys_and_values_fit_into_memory(tiny_folder: Path) -> None:
    worker = make_worker(tiny_folder, request_memory=2**20)
    client = Client(worker)
    worker.start()
    wait_for(worker, "ready")
    with pytest.raises(RequestError, match="--request-memory") as caught:
        client.submit("huge", n=16, max_tokens=200)
    assert (caught.value.param, caught.value.code) == ("n", "out-of-memory")
    for name in "abcd":
        client.submit(name, n=8, max_tokens=100)
    assert all(isinstance(client.end(name), Done) for name in "abcd")
    order = [name for name, event in client.events if not isinstance(event, Done)]
    assert order == sorted(order), "two of them do not fit together"
    assert worker.close(30)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
        RuntimeError("could not create a primitive"),
        RuntimeError("could not create a memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_failed_allocations_of_every_library_count_as_out_of_memory(
    client: Client, worker: Worker, error: Exception
) -> None:
    assert worker.model is not None
    head = Exhausted(worker.model.module.get_output_embeddings(), error)
    worker.model.module.lm_head = head
    client.submit("during")
    end = client.end("during")
    assert isinstance(end, InternalError)
    assert end.code == "out-of-memory"


def test_hundreds_of_cancelled_requests_leave_room_for_the_next(client: Client, worker: Worker) -> None:
    for i in range(400):
        job = client.submit(f"gone{i}", TEXT[i : i + 100], max_tokens=50)
        worker.cancel(job)
    client.submit("last")
    assert isinstance(client.end("last"), Done)
    assert value(worker.metrics.cancelled) == 400


class Exhausted(torch.nn.Module):
    """A head for which there is no memory."""

    def __init__(self, head: torch.nn.Module, error: Exception | None = None) -> None:
        super().__init__()
        self.head = head
        self.fail = True
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    @property
    def weight(self) -> object:
        return self.head.weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        if self.fail:
            raise self.error
        result: torch.Tensor = self.head(hidden)
        return result


def test_the_engine_lives_on_after_it_ran_out_of_memory(client: Client, worker: Worker) -> None:
    client.submit("before")
    before = client.end("before")
    assert worker.model is not None
    assert worker.cache is not None
    head = Exhausted(worker.model.module.get_output_embeddings())
    worker.model.module.lm_head = head
    client.submit("during", n=3)
    error = client.end("during")
    assert isinstance(error, InternalError)
    assert error.code == "out-of-memory"
    assert worker.cache.nbytes == 0
    head.fail = False
    client.submit("after")
    assert isinstance(before, Done)
    assert isinstance(client.end("after"), Done)


def test_unload_frees_the_model_and_the_next_request_brings_it_back(client: Client, worker: Worker) -> None:
    worker.unload()
    wait_for(worker, "unloaded")
    assert worker.model is None
    with pytest.raises(NotReadyError) as caught:
        client.submit("too-early")
    assert caught.value.code == "loading"
    wait_for(worker, "ready")
    client.submit("later")
    assert isinstance(client.end("later"), Done)


def test_unload_waits_for_the_requests_in_hand(client: Client, worker: Worker) -> None:
    client.submit("running", max_tokens=60)
    worker.unload()
    assert isinstance(client.end("running"), Done)
    wait_for(worker, "unloaded")


def test_a_failed_load_says_what_to_do(tmp_path: Path, tiny_folder: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in tiny_folder.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    worker = make_worker(folder)
    worker.start()
    wait_for(worker, "error")
    assert "holds no weights" in worker.health.message
    with pytest.raises(NotReadyError) as caught:
        worker.prepare(CompletionRequest(("x",)))
    assert caught.value.code == "load-failed"
    assert worker.close(10)


def test_the_load_is_reported_weight_by_weight(tiny_folder: Path) -> None:
    worker = make_worker(tiny_folder)
    worker.start()
    wait_for(worker, "ready")
    assert worker.health.done == worker.health.total > 10
    assert worker.close(30)


def test_stopping_answers_those_who_wait(client: Client, worker: Worker) -> None:
    client.submit("long", max_tokens=200)
    worker.close(30)
    assert isinstance(client.end("long"), NotReadyError | Done)
