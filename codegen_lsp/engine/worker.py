"""The one owner of the model: a thread that loads it, takes turns among the requests, and unloads it.

Knows jobs, turns and cancellation. Knows no HTTP: what a job gives is handed to a function, from this thread.
torch is imported here, in the thread, so that the HTTP side answers before that is done.

Turns: each running request gets one step (a chunk of its prompt, or one token for all its rows) in a round, the
lowest `priority` first; those of 1 and above only while there are no others. So a long request never makes a
short one wait for its end.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import codegen_lsp
from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.checkpoints.locate import Checkpoint, CheckpointError
from codegen_lsp.engine.metrics import Metrics
from codegen_lsp.wire.answers import Choice, Health
from codegen_lsp.wire.config import EngineConfig, option
from codegen_lsp.wire.errors import CodegenError, InternalError, NotReadyError, OverloadedError, WireError
from codegen_lsp.wire.requests import CompletionRequest

if TYPE_CHECKING:
    from codegen_lsp.engine.decode.generate import DecodeProgress, Prepared, Step
    from codegen_lsp.engine.model.model import Model
    from codegen_lsp.engine.model.prefix_cache import PrefixCache

log = logging.getLogger(__name__)

MAX_RUNNING = 16
"""Requests that take turns at once; each holds a KV cache of its own. Of those in the background only one runs."""


@dataclass(frozen=True, slots=True)
class Done:
    """A job ended well."""

    progress: DecodeProgress
    queue_ms: float


Event = Sequence[Choice] | Done | WireError
"""What a job gives: new parts of choices, any number of times; then its end."""


Begin = Callable[["Model", "PrefixCache | None", "DecodeProgress", int], "Iterator[Step]"]
"""Starts the steps of a job, given the model, the prefix cache, what to count up, and tokens a step."""


@dataclass(eq=False, slots=True)
class Job:
    """A request in the worker's hands."""

    request: CompletionRequest
    prompts: list[Prepared]
    deliver: Callable[[Event], None]
    progress: DecodeProgress
    submitted: float = field(default_factory=time.perf_counter)
    started: float = 0.0
    cancelled: bool = False
    steps: Iterator[Step] | None = None
    counted: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    begin: Begin | None = None
    """What is done with the request, where that is not to complete it."""

    @property
    def turn(self) -> tuple[int, float]:
        """Jobs are served in this order."""
        return (self.request.priority, self.submitted)


class Worker:
    """Owns the model, from a thread of its own."""

    def __init__(self, config: EngineConfig, checkpoint: Checkpoint, metrics: Metrics) -> None:
        self.config = config
        self.checkpoint = checkpoint
        self.metrics = metrics
        self.model: Model | None = None
        self.cache: PrefixCache | None = None
        self.health = Health(
            "loading",
            checkpoint.name,
            f"loading {checkpoint.name}",
            pid=os.getpid(),
            version=codegen_lsp.__version__,
        )
        self.settled = time.monotonic()
        """When the last load ended, well or not: nobody could use the engine before."""
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._wanted_loaded = True
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    # From any thread

    def start(self) -> None:
        """Begin to load the model."""
        self._thread.start()

    def close(self, timeout: float = 5.0) -> bool:
        """Stop after the step that runs; false where it takes longer than `timeout` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def busy(self) -> bool:
        """Some request is not answered yet."""
        return bool(self._waiting or self._running)

    def prepare(self, request: CompletionRequest) -> list[Prepared]:
        """Check and tokenize a request.

        Raises:
            RequestError: something in it can't be done with this model.
            NotReadyError: there is no model now; an unloaded one begins to load.
        """
        model = self._ready_model()
        from codegen_lsp.engine.decode.generate import prepare

        return prepare(model, request)

    def submit(
        self,
        request: CompletionRequest,
        prompts: list[Prepared],
        deliver: Callable[[Event], None],
        begin: Begin | None = None,
    ) -> Job:
        """Queue a request; `deliver` is called from the worker's thread.

        Raises:
            OverloadedError: too many wait already.
            NotReadyError: there is no model now.
        """
        self._ready_model()
        from codegen_lsp.engine.decode.generate import DecodeProgress

        job = Job(request, prompts, deliver, DecodeProgress(), begin=begin)
        with self._changed:
            if len(self._waiting) >= self.config.max_waiting:
                raise OverloadedError(f"{len(self._waiting)} requests wait already; try again later")
            self._waiting.append(job)
            self._changed.notify()
        return job

    def cancel(self, job: Job) -> None:
        """Stop a job at its next step; it delivers nothing more."""
        with self._changed:
            job.cancelled = True
            waits = job in self._waiting
            if waits:
                self._waiting.remove(job)
            self._changed.notify()
        if waits:
            self._finish(job, None)

    def unload(self) -> None:
        """Free the model once the requests in hand are answered; the next request loads it again."""
        with self._changed:
            self._wanted_loaded = False
            self._changed.notify()

    def _ready_model(self) -> Model:
        health, model = self.health, self.model
        if health.state == "ready" and model is not None and self._wanted_loaded:
            return model
        if health.state == "error":
            raise NotReadyError(health.message, code="load-failed")
        with self._changed:
            self._wanted_loaded = True
            self._changed.notify()
        raise NotReadyError(f"the model {health.model} is loading; try again shortly", code="loading")

    # In the worker's thread

    def _run(self) -> None:
        self._load()
        while not self._closing:
            self._admit()
            for job in self._round():
                self._step(job)
        for job in [*self._running, *self._waiting]:
            self._finish(job, NotReadyError("the engine is stopping", code="unloaded"))
        self._running, self._waiting = [], []

    def _admit(self) -> None:
        """Wait for something to do; move jobs that wait to those that run."""
        with self._changed:
            while not (self._waiting or self._running or self._closing or self._load_is_due()):
                self._changed.wait()
            urgent = [job for job in self._running if job.request.priority <= 0]
            room = {True: MAX_RUNNING - len(urgent), False: 1 - (len(self._running) - len(urgent))}
            for job in sorted(self._waiting, key=lambda job: job.turn):
                kind = job.request.priority <= 0
                if room[kind] > 0:
                    room[kind] -= 1
                    self._waiting.remove(job)
                    self._running.append(job)
            self.metrics.running.set(len(self._running))
            self.metrics.waiting.set(len(self._waiting))
        if not self._running and not self._closing and self._load_is_due():
            if self._wanted_loaded:
                self._load()
            else:
                self._unload()

    def _load_is_due(self) -> bool:
        state = self.health.state
        return (state == "unloaded") if self._wanted_loaded else (state == "ready")

    def _round(self) -> list[Job]:
        """The jobs whose turn it is, in order."""
        urgent = [job for job in self._running if job.request.priority <= 0 or job.cancelled]
        return sorted(urgent or self._running, key=lambda job: job.turn)

    def _step(self, job: Job) -> None:
        if job.cancelled:
            self._finish(job, None)
            return
        try:
            if job.steps is None:
                job.started = time.perf_counter()
                job.steps = self._begin(job)
            kind = next(job.steps, None)
        except Exception as error:
            self._finish(job, self._explain(error))
            return
        self._count(job, kind)
        if kind is None:
            queue_ms = (job.started - job.submitted) * 1000
            self._finish(job, Done(job.progress, queue_ms))

    def _begin(self, job: Job) -> Iterator[Step]:
        from codegen_lsp.engine.decode.generate import generate

        model = self.model
        if model is None:
            raise NotReadyError("the model was unloaded meanwhile; try again shortly", code="loading")
        if job.begin is not None:
            return job.begin(model, self.cache, job.progress, self.config.prefill_chunk)

        def emit(choices: Sequence[Choice]) -> None:
            if not job.cancelled:
                job.deliver(choices)

        return generate(
            model, self.cache, job.request, job.prompts, emit, job.progress, self.config.prefill_chunk
        )

    def _finish(self, job: Job, end: Done | WireError | None) -> None:
        """Take a job off the list; `end` None means that nobody waits for it any more."""
        if job.steps is not None:
            try:
                job.steps.close()  # type: ignore[attr-defined]
            except Exception:
                log.exception("a request could not be closed cleanly")
        job.steps = None
        with self._changed:
            if job in self._running:
                self._running.remove(job)
            self.metrics.running.set(len(self._running))
        if end is None:
            self.metrics.cancelled.inc()
        outcome = "cancelled" if end is None else "ok" if isinstance(end, Done) else "error"
        self.metrics.requests.labels(outcome).inc()
        if end is not None and not job.cancelled:
            job.deliver(end)

    def _count(self, job: Job, kind: Step | None) -> None:
        metrics, progress = self.metrics, job.progress
        if kind is not None:
            metrics.steps.labels(kind).inc()
        now = [
            progress.prompt_tokens,
            progress.prefilled_tokens,
            progress.cached_tokens,
            progress.completion_tokens,
        ]
        counters = (
            metrics.prompt_tokens,
            metrics.prefill_tokens,
            metrics.cached_tokens,
            metrics.generated_tokens,
        )
        for counter, new, old in zip(counters, now, job.counted, strict=True):
            if new > old:
                counter.inc(new - old)
        job.counted = now
        if self.cache is not None:
            metrics.cache_bytes.set(self.cache.nbytes)
            metrics.count_evictions(self.cache.evictions)

    def _explain(self, error: Exception) -> WireError:
        """What a client is told of an error; where memory ran out, the cache's is freed."""
        if isinstance(error, WireError):
            return error
        if not _is_out_of_memory(error):
            log.error("a request failed", exc_info=error)
            return InternalError(f"the engine failed: {type(error).__name__}: {str(error)[:200]}")
        log.error("out of memory: %s", error)
        if self.cache is not None:
            self.cache.clear()
        _give_back_memory()
        return InternalError(
            "the engine ran out of memory; ask for fewer or shorter candidates, or start it with a smaller "
            "model, --context or --prefix-cache",
            code="out-of-memory",
        )

    def _load(self) -> None:
        self.health = replace(
            self.health, state="loading", message=f"loading {self.checkpoint.name}", done=0, total=0
        )
        started = time.perf_counter()
        try:
            # What is wrong with its files is told before seconds go into importing torch.
            locate.locate(self.checkpoint, allow_pickle=self.config.allow_pickle, progress=self._report)
            from codegen_lsp.engine.model.model import load
            from codegen_lsp.engine.model.prefix_cache import PrefixCache

            model = load(self.config, self.checkpoint, self._report)
        except Exception as error:
            self.settled = time.monotonic()
            self.health = replace(self.health, state="error", message=self._load_failure(error))
            log.error("%s", self.health.message, exc_info=not isinstance(error, CodegenError))
            return
        self.model = model
        keeps = self.config.prefix_cache and model.layout is not None
        self.cache = PrefixCache(self.config.prefix_cache) if keeps else None
        if model.layout is None:
            log.warning("%s keeps more than keys and values: no prefix cache for it", model.name)
        message = f"{model.name} is ready"
        self.settled = time.monotonic()
        self.health = replace(self.health, state="ready", message=message, model=model.name)
        log.info("%s after %.1f s", message, time.perf_counter() - started)

    def _load_failure(self, error: Exception) -> str:
        if isinstance(error, CodegenError):
            return str(error)
        if _is_out_of_memory(error):
            return (
                f"{self.checkpoint.name} does not fit into memory; take a smaller model, or limit it with "
                f"{option('max-memory')} and {option('offload-folder')}"
            )
        return f"{self.checkpoint.name} could not be loaded: {type(error).__name__}: {str(error)[:300]}"

    def _report(self, what: str, done: int, total: int) -> None:
        if self._closing:
            raise CheckpointError("the engine is stopping")
        self.health = replace(self.health, message=f"{what} ({self.checkpoint.name})", done=done, total=total)

    def _unload(self) -> None:
        self.model = self.cache = None
        _give_back_memory()
        message = "the model is unloaded; the next request loads it again"
        self.health = replace(self.health, state="unloaded", message=message, done=0, total=0)
        self.metrics.cache_bytes.set(0)
        log.info("%s", message)


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def _give_back_memory() -> None:
    """Return freed memory to the system; the C library would keep it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):
            log.debug("this C library has no malloc_trim")
