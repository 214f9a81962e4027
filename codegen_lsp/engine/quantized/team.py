"""Run a compiled function on the threads that torch computes with, so that no second pool competes for the cores.

Knows the OpenMP library that torch is built on, through its C interface. Without one (macOS) functions run in one
thread.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

RUN, THREAD_NUMBER, THREAD_COUNT = "GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads"
"""Part of the interface of GNU's OpenMP, which LLVM's and Intel's offer too on Linux."""


@cache
def _library() -> Any:
    """Return the OpenMP library that torch has loaded; None if it isn't one that is known."""
    if sys.platform != "linux":
        return None
    folder = Path(torch.__file__).parent
    bundled = sorted(folder.glob("lib/libgomp*")) + sorted(folder.parent.glob("torch.libs/libgomp*"))
    for name in (*map(str, bundled), None):
        try:
            library = ctypes.CDLL(name)
            getattr(library, RUN).argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            getattr(library, RUN).restype = None
            getattr(library, THREAD_NUMBER)
        except (OSError, AttributeError):
            continue
        return library
    return None


def has_threads() -> bool:
    """Return whether functions can run on several threads."""
    return _library() is not None


def address_of(name: str) -> int:
    """Return the address of a function of the OpenMP library."""
    address = ctypes.cast(getattr(_library(), name), ctypes.c_void_p).value
    assert address is not None
    return address


def yield_address() -> int:
    """Return the address of the system's function that lets other threads run."""
    address = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value
    assert address is not None
    return address


def thread_count() -> int:
    """Return the number of threads that `run` uses by itself: as many as torch's operators."""
    return torch.get_num_threads() if has_threads() else 1


def run(function: int, argument: int, threads: int = 0) -> None:
    """Call the C function at an address on each of some threads, with the same pointer, and wait for all.

    Without a number of threads they are as many as `thread_count` says.
    """
    library = _library()
    if library is None:
        _SERIAL(function)(argument)
    else:
        library.GOMP_parallel(function, argument, threads or torch.get_num_threads(), 0)


_SERIAL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
