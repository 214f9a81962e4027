"""Recognize that memory ran out, learn how much there is, and return freed memory to the system."""

from __future__ import annotations

import ctypes
import errno
import gc
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

OUT_OF_MEMORY = re.compile(
    r"""
      out \ of \ memory                                 # CUDA
    | (?: can't | cannot | unable \ to | failed \ to | could \ not) \ allocate
    | could \ not \ create \ a \ (?: primitive | memory)   # oneDNN, for its buffers and its compiled code
    | (?: dnnl | mkldnn ) _out_of_memory
    | _ALLOC_FAILED                              # cuBLAS, cuDNN
    | bad_alloc
    | not \ enough \ memory
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""What the allocators of torch and of the mathematical libraries below it say."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None


def available_memory() -> int:
    """Return the bytes of memory that this process can still get: of the machine, or of its control group."""
    available = int(psutil.virtual_memory().available)
    limit, used = _number("memory.max"), _number("memory.current")
    return available if limit is None or used is None else max(0, min(available, limit - used))


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a GPU, or for this process on the processor."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()


def _number(name: str) -> int | None:
    """Return a number of this process's control group (cgroup v2); None if there is none."""
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="utf-8").strip().rpartition("::")[2]
        return int((Path("/sys/fs/cgroup") / group.lstrip("/") / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def release_memory() -> None:
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
