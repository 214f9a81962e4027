"""A recorder of steps without a GPU, as strict as one: work that could not be recorded there fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

UNRECORDABLE = {
    "aten._local_scalar_dense.default": "waits for a number",
    "aten.nonzero.default": "has a result whose size depends on values",
    "aten.masked_select.default": "has a result whose size depends on values",
    "aten.lift_fresh.default": "copies from Python",
    "aten.pin_memory.default": "allocates memory of the processor",
}


class Strict(TorchDispatchMode):
    """Refuses operations that a graph can't hold."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (reason := UNRECORDABLE.get(str(func))) is not None:
            raise RuntimeError(f"{func} {reason}")
        return func(*args, **(kwargs or {}))


class StrictRecorder:
    """Repeats work by doing it again; the work must not depend on anything but tensors that stay."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0
        self.fails_at: int | None = None
        """The number of recordings after which the next one fails, as if memory had run out."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        if self.fails_at is not None and self.recorded >= self.fails_at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        self.recorded += 1
        work()
        self._do(work)

        def replay() -> None:
            self.replayed += 1
            self._do(work)

        return replay

    def _do(self, work: Callable[[], None]) -> None:
        with Strict():
            work()
