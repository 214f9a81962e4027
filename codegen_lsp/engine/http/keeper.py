"""Keep an engine running: a parent process imports the libraries once, and forks the engine that uses them.

An engine that crashes, or is killed, is forked again within milliseconds instead of importing torch for seconds. The
parent holds the listening socket, so that requests wait for the new engine instead of failing. Memory is shared: what
the parent imported is in memory once. While the parent imports, a first child answers that the model is loading.

Only the parent owns the socket and its lock; a child ends without cleaning up, and no child outlives the parent.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from codegen_lsp.engine.libraries import import_libraries
from codegen_lsp.engine.memory import release_libraries

log = logging.getLogger(__name__)

CRASHES = 3
CRASH_SECONDS = 60.0
"""After this many crashes within this many seconds the parent ends too, by the same signal."""

GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dri/renderD128", "/dev/dxg")
"""Device files of GPUs, whose libraries do not survive a fork."""

MODULES = (
    "codegen_lsp.engine.model.loading",
    "codegen_lsp.engine.fill.choice",
    "codegen_lsp.engine.decode.generate",
)
"""What an engine imports when it loads a model, and at its first request."""

STOPS = (signal.SIGTERM, signal.SIGINT)
PR_SET_PDEATHSIG = 1

ChildWork = Callable[[], object]
"""What a child does until it ends."""


class Leave(BaseException):
    """The parent was told to stop, or its first child has ended, while it imported the libraries."""


def is_supported() -> bool:
    """Return whether engines are kept on this machine: on Linux without GPUs."""
    return sys.platform == "linux" and not any(Path(device).exists() for device in GPUS)


def is_possible() -> bool:
    """Return whether this process can keep an engine: a process with other threads can't be forked safely."""
    return is_supported() and threading.active_count() == 1


class Keeper:
    """The parent of an engine. Must run in the main thread."""

    def __init__(self, answer: ChildWork, serve: ChildWork) -> None:
        """`answer` answers that the model is loading; `serve` is the engine. Both run in a child process."""
        self._answer, self._serve = answer, serve
        self._child = 0
        self._importing = True
        self._stopping = False
        self._crashes: deque[float] = deque(maxlen=CRASHES)

    def run(self) -> int:
        """Return the exit code of the engine once it has left: negative if a signal ended it too often."""
        handlers: dict[signal.Signals, Any] = dict.fromkeys(STOPS, self._on_stop)
        handlers[signal.SIGCHLD] = self._on_child_end
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            first = self._fork(self._answer)
            try:
                self._import()
            except Leave:
                return self._wait(first)
            self._fork(self._serve)
            _end(first)
            self._wait(first)
            return self._keep()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _keep(self) -> int:
        """Wait for the engine, and replace it when it crashes."""
        while True:
            code = self._wait(self._child)
            self._crashes.append(time.monotonic())
            often = len(self._crashes) == CRASHES and self._crashes[-1] - self._crashes[0] < CRASH_SECONDS
            if code >= 0 or self._stopping or often:
                return 0 if self._stopping else code
            log.warning("the engine was ended by %s; it is started again", signal.Signals(-code).name)
            self._fork(self._serve)

    def _import(self) -> None:
        gc.disable()
        try:
            import_libraries()
            for name in MODULES:
                importlib.import_module(name)
        except Exception:
            # The engine meets the same error when it loads its model, and reports it.
            log.debug("the libraries could not be imported", exc_info=True)
        finally:
            self._importing = False
            gc.enable()
        # The collector would write to the pages that the processes share.
        gc.freeze()
        release_libraries()

    # Signals ----------------------------------------------------------------------------------------

    def _on_stop(self, *_: object) -> None:
        self._stopping = True
        _end(self._child)
        if self._importing:
            raise Leave

    def _on_child_end(self, *_: object) -> None:
        if self._importing and os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise Leave

    # Children ---------------------------------------------------------------------------------------

    def _fork(self, work: ChildWork) -> int:
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        signals = {*STOPS, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            pid = os.fork()
            if not pid:
                _become(work, parent, signals)
            self._child = pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        if self._stopping:
            _end(pid)
        return pid

    def _wait(self, pid: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _become(work: ChildWork, parent: int, signals: set[signal.Signals]) -> NoReturn:
    """Work as a child process, and end with it."""
    code = 1
    try:
        for number in signals:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        _die_with(parent)
        work()
        code = 0
    except BaseException:
        log.exception("the engine failed")
    finally:
        logging.shutdown()
        os._exit(code)


def _die_with(parent: int) -> None:
    """Let the system kill this process when its parent ends, however that happens."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        log.debug("the process %d has ended already", pid)
