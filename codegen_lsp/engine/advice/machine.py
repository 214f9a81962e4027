"""Measure what this machine reads per second, and how much it can hold."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

import psutil
import torch

GIB = 2**30


@dataclass(frozen=True, slots=True)
class MachineMemory:
    """The memory that a model would be in: that of the GPU if there is one, otherwise the processor's."""

    SHARE: ClassVar[float] = 0.7
    """How much of the free memory a model may take: the rest is for keys and values, and for other programs."""

    device: str
    free: int
    """Bytes."""
    bandwidth: float
    """Bytes per second that are read from it."""
    has_bfloat16: bool
    """Whether it computes in 16 bits; otherwise an unquantized model takes 32."""

    @property
    def room(self) -> int:
        """Bytes that the weights of a model may take."""
        return int(self.free * self.SHARE)


SAMPLE = 2**28
"""Bytes that a measurement reads: more than any processor's cache holds."""
REPEATS = 4


def measure() -> MachineMemory:
    """Return this machine, after reading some hundred megabytes for the fraction of a second."""
    from codegen_lsp.engine.checkpoints.placement import pick_dtype
    from codegen_lsp.wire.config import EngineConfig

    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    free = torch.cuda.mem_get_info(0)[0] if device != "cpu" else psutil.virtual_memory().available
    return MachineMemory(
        device=device,
        free=int(free),
        bandwidth=_bandwidth(device, min(SAMPLE, int(free) // 8)),
        has_bfloat16=pick_dtype(EngineConfig()) is not torch.float32,
    )


@torch.inference_mode()
def _bandwidth(device: str, size: int) -> float:
    """Return the bytes per second of the fastest of a few sums over a large tensor."""
    numbers = torch.ones(size // 4, device=device)
    best = float("inf")
    for _ in range(REPEATS):
        started = time.perf_counter()
        float(numbers.sum())
        best = min(best, time.perf_counter() - started)
    return size / best
