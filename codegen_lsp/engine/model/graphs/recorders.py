"""Record what a GPU computes once, and replay it without Python: CUDA graphs.

A recorder takes a function that reads and writes tensors at fixed addresses, and returns one that does the same again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

WARM_UPS = 3
"""Number of runs before the recording, in which libraries choose and load their kernels."""

Recordable = Callable[[], None]


class Recorder(Protocol):
    """Turns work into a function that repeats it."""

    def record(self, work: Recordable) -> Recordable:
        """Do the work at least once, and return a function that repeats it."""


class CudaRecorder:
    """Records CUDA graphs on one GPU, which share the memory of their intermediate results."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Recordable) -> Recordable:
        """Do the work a few times, and return a function that replays it."""
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(WARM_UPS):
                    work()
            torch.cuda.current_stream().wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the GPU meanwhile.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                work()
            graph.replay()
        return graph.replay


class Unrecorded:
    """Refuses to record, so that steps are made of single calls: to measure or compare them."""

    def record(self, work: Recordable) -> Recordable:
        """Raise an error.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"this recorder records nothing, so call the work itself: {work}")
