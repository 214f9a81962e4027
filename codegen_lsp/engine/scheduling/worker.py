"""The one owner of the model: a thread that loads it, takes turns among the requests, and unloads it.

Knows jobs, turns and cancellation. Knows no HTTP: results are passed to a function, from this thread. torch is imported
in the thread, so that the HTTP side answers before that is done.

Turns: in each round every running request makes one step (a chunk of its prompt, or one token for all its rows), the
lowest `priority` first; requests with a priority of 1 and above only while there are no others. So a long request
never makes a short one wait until it ends. The steps of a round share forward passes. Requests run only if their keys
and values fit into memory together.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from codegen_lsp.engine.checkpoints.checkpoint import Checkpoint
from codegen_lsp.engine.checkpoints.files import first_line
from codegen_lsp.engine.checkpoints.tokenizer import is_panic
from codegen_lsp.engine.decode.progress import Planned, Steps
from codegen_lsp.engine.memory import HeapTrimmer, is_out_of_memory
from codegen_lsp.engine.scheduling.jobs import CLIENT_SHARE, MAX_RUNNING, Done, Job, admissible
from codegen_lsp.engine.scheduling.metrics import Metrics
from codegen_lsp.engine.scheduling.model_slot import ModelSlot
from codegen_lsp.wire.answers import Choice, Health
from codegen_lsp.wire.config import EngineConfig
from codegen_lsp.wire.errors import InternalError, NotReadyError, OverloadedError, WireError
from codegen_lsp.wire.requests import CompletionRequest

if TYPE_CHECKING:
    from codegen_lsp.engine.decode.prompts import PreparedPrompt
    from codegen_lsp.engine.model.model import Model
    from codegen_lsp.engine.model.prefix_cache import PrefixCache

log = logging.getLogger(__name__)

TOGETHER_SECONDS = 0.004
"""What comes so soon after something that was sent goes with what comes next.

Each message costs two processes about half a millisecond, on the cores that the next steps need.
"""


class Worker:
    """Owns the model, from its own thread."""

    def __init__(self, config: EngineConfig, checkpoint: Checkpoint, metrics: Metrics) -> None:
        self.config = config
        self.checkpoint = checkpoint
        self.metrics = metrics
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._wants_model = True
        self._closing = False
        self._unsent: list[tuple[Job, Iterable[Choice]]] = []
        """New parts of choices: they are looked up just before kernels run, and sent meanwhile. Earlier, the thread
        that sends them would take Python away from this one, which has a few short things to do for the next step."""
        self._sent = 0.0
        """When something was sent last."""
        self._heap = HeapTrimmer()
        self._slot = ModelSlot(config, checkpoint, lambda: self._closing)
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        metrics.watch(lambda: len(self._running), lambda: len(self._waiting), lambda: self.cache)

    # From any thread

    @property
    def model(self) -> Model | None:
        """The model, if it is loaded."""
        return self._slot.model

    @property
    def cache(self) -> PrefixCache | None:
        """The prefix cache, if there is one."""
        return self._slot.cache

    @property
    def health(self) -> Health:
        """The state of the model."""
        return self._slot.health

    @property
    def settled(self) -> float:
        """When the last load ended, on the monotonic clock."""
        return self._slot.settled

    @property
    def busy(self) -> bool:
        """Whether some request is not answered yet."""
        return bool(self._waiting or self._running)

    def start(self) -> None:
        """Begin to load the model."""
        self._thread.start()

    def close(self, timeout: float = 5.0) -> bool:
        """Stop after the current step; return false if that takes longer than `timeout` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def prepare(self, request: CompletionRequest) -> list[PreparedPrompt]:
        """Check and tokenize a request.

        Raises:
            RequestError: this model can't do something in the request.
            NotReadyError: there is no model now; an unloaded one begins to load.
        """
        model = self._ready_model()
        from codegen_lsp.engine.decode.prompts import prepare

        try:
            return prepare(model, request)
        except BaseException as error:
            if not is_panic(error):
                raise
            raise InternalError(f"the tokenizer of {model.name} failed: {first_line(error)}") from None

    def submit(self, job: Job) -> None:
        """Queue a job; its `deliver` is called from the worker's thread.

        Raises:
            OverloadedError: too many jobs are waiting, of this client or together.
            RequestError: the job needs more memory than running requests may take together.
            NotReadyError: there is no model now.
        """
        model = self._ready_model()
        job.reserve(model, self._slot.kv_budget)
        with self._changed:
            if len(self._waiting) >= self.config.max_waiting:
                raise OverloadedError(f"{len(self._waiting)} requests are waiting; try again later")
            waiting = sum(queued.client == job.client for queued in self._waiting)
            if job.client and waiting >= max(1, self.config.max_waiting // CLIENT_SHARE):
                raise OverloadedError(f"{waiting} of your requests are waiting; try again later")
            self._waiting.append(job)
            self._changed.notify()

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
        """Free the model once the running and waiting requests are answered; the next request loads it again."""
        with self._changed:
            self._wants_model = False
            self._changed.notify()

    def _ready_model(self) -> Model:
        health, model = self.health, self.model
        if health.state == "ready" and model is not None and self._wants_model:
            return model
        if health.state == "error":
            raise NotReadyError(health.message, code="load-failed")
        with self._changed:
            self._wants_model = True
            self._changed.notify()
        raise NotReadyError(f"the model {health.model} is loading; try again shortly", code="loading")

    # In the worker's thread

    def _run(self) -> None:
        self._slot.load()
        while not self._closing:
            self._wait()
            if self._running or self._closing or not self._load_is_due():
                self._make_steps(self._round())
            elif self._wants_model:
                self._slot.load()
            else:
                self._slot.unload()
        for job in [*self._running, *self._waiting]:
            self._finish(job, NotReadyError("the engine is stopping", code="unloaded"))
        self._running, self._waiting = [], []

    def _wait(self) -> None:
        """Wait for something to do, and admit waiting jobs."""
        if self._running and not self._waiting:
            return
        with self._changed:
            while not (self._waiting or self._running or self._closing or self._load_is_due()):
                self._changed.wait()
            for job in admissible(self._waiting, self._running, self._slot.kv_budget):
                self._waiting.remove(job)
                self._running.append(job)

    def _load_is_due(self) -> bool:
        state = self.health.state
        return (state == "unloaded") if self._wants_model else (state == "ready")

    def _round(self) -> list[Job]:
        """Return the jobs whose turn it is, in order."""
        urgent = [job for job in self._running if job.urgent or job.cancelled]
        return sorted(urgent or self._running, key=lambda job: job.turn)

    def _make_steps(self, jobs: Sequence[Job]) -> None:
        """Make one step of each job."""
        for job in jobs:
            if job.cancelled:
                self._finish(job, None)
            elif job.planned is None:
                self._resume(job)
        waiting = [job for job in jobs if job.planned is not None]
        if not waiting:
            self._send()
            return
        assert self.model is not None
        from codegen_lsp.engine.decode.shared import make
        from codegen_lsp.engine.quantized.formats import FEW_ROWS

        planned = [job.planned for job in waiting if job.planned is not None]
        is_short = sum(item.part.tokens.numel() for item in planned) <= FEW_ROWS
        before = self._send_together if is_short else self._send
        passes = make(self.model, planned, self.model.prefill_chunk + MAX_RUNNING, before)
        for job, result in zip(waiting, passes, strict=True):
            self._resume(job, result)

    def _resume(self, job: Job, result: Any = None) -> None:
        """Run a job, which gets the logits of its last forward pass or the reason for its failure, to its next one."""
        before, made = job.progress.counts, job.planned
        job.planned = None
        try:
            if job.steps is None:
                job.started = time.perf_counter()
                job.steps = self._begin(job)
            item = job.steps.throw(result) if isinstance(result, Exception) else job.steps.send(result)
        except StopIteration:
            item = None
        except Exception as error:
            self._finish(job, self._explain(error))
            return
        if isinstance(item, Planned):
            job.planned = item
        kind = made.kind if made is not None else None if isinstance(item, Planned) else item
        self.metrics.count_step(kind, before, job.progress.counts)
        if item is None:
            self._finish(job, Done(job.progress, (job.started - job.submitted) * 1000))

    def _begin(self, job: Job) -> Steps:
        from codegen_lsp.engine.decode.generate import generate
        from codegen_lsp.engine.decode.reading import Reading

        if self.model is None:
            raise NotReadyError("the model was unloaded in the meantime; try again shortly", code="loading")
        reading = Reading(self.model, self.cache, job.progress, self.model.prefill_chunk, job.namespace)
        if job.begin is not None:
            return job.begin(reading)
        return generate(
            reading, job.request, job.prompts, lambda choices: self._unsent.append((job, choices))
        )

    def _send_together(self) -> bool:
        """Deliver what jobs have emitted, unless that was done just now: steps of a small model take less time."""
        return time.perf_counter() - self._sent >= TOGETHER_SECONDS and self._send()

    def _send(self) -> bool:
        """Deliver what jobs have emitted; return whether there was anything."""
        if not self._unsent:
            return False
        self._sent = time.perf_counter()
        unsent, self._unsent = self._unsent, []
        for job, choices in unsent:
            if new := tuple(choices):
                job.emit(new)
        return True

    def _finish(self, job: Job, end: Done | WireError | None) -> None:
        """Remove a job; `end` is None if its client has left."""
        if job.steps is not None:
            try:
                job.steps.close()
            except Exception:
                log.exception("a request could not be closed cleanly")
        job.steps = job.planned = None
        with self._changed:
            if job in self._running:
                self._running.remove(job)
        outcome = "cancelled" if end is None else "ok" if isinstance(end, Done) else "error"
        self.metrics.count_end(outcome)
        if self.cache is not None:
            self.metrics.count_evictions(self.cache.evictions)
        self._heap.trim()
        if end is not None and not job.cancelled:
            # Its last parts go with its end: one message less.
            last = [tuple(choices) for other, choices in self._unsent if other is job]
            self._unsent = [each for each in self._unsent if each[0] is not job]
            job.deliver(*filter(None, last), end)

    def _explain(self, error: Exception) -> WireError:
        """Return what the client is told about an error; if memory ran out, free the prefix cache."""
        if isinstance(error, WireError):
            return error
        if not is_out_of_memory(error):
            log.error("a request failed", exc_info=error)
            return InternalError(f"the engine failed: {type(error).__name__}: {str(error)[:200]}")
        log.error("out of memory: %s", error)
        # The traceback holds the tensors of the request.
        error.__traceback__ = None
        self._slot.free_cache()
        return InternalError(
            "the engine ran out of memory; request fewer or shorter candidates, or start it with a smaller "
            "model, --context or --prefix-cache",
            code="out-of-memory",
        )
