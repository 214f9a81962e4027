"""Recognize that memory ran out, learn how much there is, and return freed memory to the system."""

from __future__ import annotations

import ctypes
import errno
import gc
import logging
import mmap
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


TRIM_SECONDS = 2.0
"""Minimum time between two looks at the C library's heap."""
TRIM_BYTES = 16 * 2**20
"""Bytes of freed memory that the C library may keep for the next step."""


class _MallInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks")),
        *((name, ctypes.c_size_t) for name in ("fsmblks", "uordblks", "fordblks", "keepcost")),
    )


class HeapTrimmer:
    """Returns freed memory to the system while the engine works.

    The segments of the prefix cache, which stay, lie between the buffers of steps, which go. So glibc, which only
    returns the end of its heap, keeps most of what is freed: mixed traffic took 85 MiB more than the plan.
    """

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._info: Any = None
        try:
            self._info = ctypes.CDLL(None).mallinfo2
            self._info.restype = _MallInfo
        except (OSError, AttributeError):
            log.debug("this C library does not say how much memory it keeps")

    def trim(self) -> bool:
        """Return freed memory if there is much of it, and some time has passed since the last look."""
        now = time.monotonic()
        if self._info is None or now - self._last < TRIM_SECONDS:
            return False
        self._last = now
        if self._info().fordblks < TRIM_BYTES:
            return False
        _trim_heap()
        return True


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's `mallopt`."""
APART_BYTES = 5 * 2**18
"""Blocks of this size get pages of their own while a model is loaded.

More than what the quantization of a part of a matrix takes for a moment, which would get new pages each time: loading
took twice as long.
"""
TOGETHER_BYTES = 32 * 2**20
"""The same for work with a model: the largest value that glibc allows."""


@contextmanager
def large_blocks_apart() -> Iterator[None]:
    """Let each large block that is freed return to the system at once; afterwards let the heap keep them again.

    glibc raises its limit for pages of their own whenever such a block is freed, so that the tensors of a checkpoint
    end up in the heap, between others that stay. The peak of loading depended on their order: it differed by 40 MiB
    from one run to the next. Steps, which free the same blocks over and over, are faster with a heap.
    """
    _keep_in_heap(APART_BYTES)
    try:
        yield
    finally:
        _keep_in_heap(TOGETHER_BYTES)


def _keep_in_heap(size: int) -> None:
    """Let blocks below a size come from the heap, whose end the system gets back when twice as much is free there."""
    if sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL(None).mallopt
        except (OSError, AttributeError):
            log.debug("this C library has no mallopt")
            return
        mallopt(M_MMAP_THRESHOLD, size)
        mallopt(M_TRIM_THRESHOLD, 2 * size)


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
    _trim_heap()


LIBRARY = re.compile(r"\.so[.\d]*$")
"""The end of a library's path."""


def release_libraries() -> None:
    """Let go of the pages of libraries: starting touches many that nothing needs afterwards.

    The compiler of kernels alone has 64 MiB, and the initialization of torch 50. A page that is still in use comes back
    from the system's cache of files within a microsecond.
    """
    if sys.platform != "linux":
        return
    try:
        madvise = ctypes.CDLL(None).madvise
        mappings = psutil.Process().memory_maps(grouped=False)
    except (OSError, AttributeError, psutil.Error):
        log.debug("this system does not say what libraries take")
        return
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for mapping in mappings:
        # Only what was never written to: the file has the same.
        if mapping.perms in ("r-xp", "r--p") and not mapping.anonymous and LIBRARY.search(mapping.path):
            start, stop = (int(address, 16) for address in mapping.addr.split("-"))
            madvise(start, stop - start, mmap.MADV_DONTNEED)


def _trim_heap() -> None:
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):
            log.debug("this C library has no malloc_trim")
