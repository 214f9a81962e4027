"""A request on its way through the worker, and which requests may run at the same time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from codegen_lsp.engine.decode.progress import DecodeProgress, Planned, Steps
from codegen_lsp.wire.answers import Choice
from codegen_lsp.wire.errors import RequestError, WireError
from codegen_lsp.wire.requests import CompletionRequest

if TYPE_CHECKING:
    from codegen_lsp.engine.decode.prompts import PreparedPrompt
    from codegen_lsp.engine.decode.reading import Reading
    from codegen_lsp.engine.model.model import Model


@dataclass(frozen=True, slots=True)
class Done:
    """The successful end of a job."""

    progress: DecodeProgress
    queue_ms: float


Event = Sequence[Choice] | Done | WireError
"""New parts of choices, any number of times, then the end of the job."""


class Deliver(Protocol):
    """Takes events of a job, those that belong together at once."""

    def __call__(self, *events: Event) -> None:
        """Take them, in order."""


Begin = Callable[["Reading"], Steps]
"""Starts the steps of a job."""


@dataclass(eq=False, slots=True)
class Job:
    """A request with its state in the worker."""

    request: CompletionRequest
    prompts: list[PreparedPrompt]
    deliver: Deliver
    """Called from the worker's thread."""
    begin: Begin | None = None
    """What to do with the prompts; None completes them."""
    client: str = ""
    """The sender, whose jobs together are limited; empty for the engine's own user, who is not."""
    namespace: str = ""
    """The part of the prefix cache that the job reads and writes."""
    kv_bytes: int = 0
    """Upper bound of the bytes of keys and values that the job holds while it runs."""
    progress: DecodeProgress = field(default_factory=DecodeProgress)
    submitted: float = field(default_factory=time.perf_counter)
    started: float = 0.0
    cancelled: bool = False
    steps: Steps | None = None
    planned: Planned | None = None
    """The forward pass that the job needs next."""

    @property
    def turn(self) -> tuple[int, float]:
        """The order in which jobs are served."""
        return (self.request.priority, self.submitted)

    @property
    def urgent(self) -> bool:
        """Whether the job is not a background one."""
        return self.request.priority <= 0

    def emit(self, choices: Sequence[Choice]) -> None:
        """Deliver new parts of choices, unless the client has left."""
        if not self.cancelled:
            self.deliver(choices)

    def reserve(self, model: Model, budget: int) -> None:
        """Compute `kv_bytes`.

        Raises:
            RequestError: the job needs more than `budget` bytes.
        """
        request = self.request
        longest = max((len(prompt.tokens) for prompt in self.prompts), default=0)
        # Prompts that are scored together take rows of a batch, which has at most the tokens of a chunk.
        more = max(request.max_tokens, model.scored_chunk if request.echo and len(self.prompts) > 1 else 0)
        self.kv_bytes = model.request_bytes(longest, request.n if request.max_tokens else 1, more)
        if self.kv_bytes > budget:
            raise RequestError(
                f"the request may take {self.kv_bytes / 2**20:.0f} MiB of keys and values, more than the "
                f"{budget / 2**20:.0f} MiB of this engine; request fewer candidates ('n') or fewer tokens "
                "('max_tokens'), or start the engine with more --request-memory",
                param="n" if request.n > 1 else "max_tokens",
                code="out-of-memory",
            )


MAX_RUNNING = 16
"""Maximum number of requests that take turns; each holds a KV cache. Only one of them may be a background request."""

CLIENT_SHARE = 4
"""One client on the network may have this fraction of the places for waiting and for running requests."""


def admissible(waiting: Sequence[Job], running: Sequence[Job], budget: int) -> list[Job]:
    """Return the waiting jobs for which there are places, and memory within `budget` bytes.

    A client of several gets at most a share of the places. A job that doesn't fit into memory now waits, and so do
    those behind it: otherwise a large one would never get its turn. A job that runs alone always fits.
    """
    urgent = sum(job.urgent for job in running)
    places = {True: MAX_RUNNING - urgent, False: 1 - (len(running) - urgent)}
    clients = Counter(job.client for job in running)
    used = sum(job.kv_bytes for job in running)
    admitted: list[Job] = []
    for job in _fairly(waiting, running):
        crowded = job.client and clients[job.client] >= MAX_RUNNING // CLIENT_SHARE
        if places[job.urgent] <= 0 or crowded:
            continue
        if used and used + job.kv_bytes > budget:
            break
        places[job.urgent] -= 1
        clients[job.client] += 1
        used += job.kv_bytes
        admitted.append(job)
    return admitted


def _fairly(waiting: Sequence[Job], running: Sequence[Job]) -> list[Job]:
    """Return the waiting jobs in order: of equal priority first those of clients who have fewer before them.

    A client with ten waiting jobs and one with a single job get the next two places, in whatever order they came.
    """
    earlier = Counter(job.client for job in running if job.client)
    places = []
    for job in sorted(waiting, key=lambda job: job.turn):
        places.append(((job.request.priority, earlier[job.client], job.submitted), job))
        if job.client:
            earlier[job.client] += 1
    return [job for _, job in sorted(places, key=lambda place: place[0])]
