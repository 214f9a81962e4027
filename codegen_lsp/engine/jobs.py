"""A request on its way through the worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codegen_lsp.engine.decode.progress import DecodeProgress, Step
from codegen_lsp.wire.answers import Choice
from codegen_lsp.wire.errors import WireError
from codegen_lsp.wire.requests import CompletionRequest

if TYPE_CHECKING:
    from codegen_lsp.engine.decode.prompts import PreparedPrompt
    from codegen_lsp.engine.decode.reading import Reading


@dataclass(frozen=True, slots=True)
class Done:
    """The successful end of a job."""

    progress: DecodeProgress
    queue_ms: float


Event = Sequence[Choice] | Done | WireError
"""New parts of choices, any number of times, then the end of the job."""

Begin = Callable[["Reading"], Iterator[Step]]
"""Starts the steps of a job."""


@dataclass(eq=False, slots=True)
class Job:
    """A request with its state in the worker."""

    request: CompletionRequest
    prompts: list[PreparedPrompt]
    deliver: Callable[[Event], None]
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
    steps: Iterator[Step] | None = None

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
