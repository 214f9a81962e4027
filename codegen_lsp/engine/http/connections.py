"""Limit what connections can take: their number, the time for headers, and the time in which an answer is not read."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections import Counter
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from codegen_lsp.engine.http.access import network_of

log = logging.getLogger(__name__)

HEADER_SECONDS = 10.0
"""Seconds within which the headers of a request must arrive."""

SEND_SECONDS = 60.0
"""Seconds after which a client that doesn't read its answer is dropped."""

MAX_CONNECTIONS = 512
MAX_CONNECTIONS_PER_PEER = 64
"""Over TCP, where a machine has all addresses of an IPv6 /64 network; connections to a unix socket are one user's."""

OPEN_FILES = 4096
"""Limit of open files that is requested from the system."""

QUIET_SECONDS = 60.0
"""Minimum time between two log lines about connections that could not be accepted."""

BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class LimitedProtocol(H11Protocol):
    """uvicorn's HTTP protocol with limits for connections, and timeouts for headers and for clients that don't read."""

    peers: ClassVar[Counter[str]] = Counter()
    """Number of connections of each TCP peer in this process."""

    _timer: asyncio.TimerHandle | None = None
    """Runs while headers are incomplete."""
    _full: asyncio.TimerHandle | None = None
    """Runs while the client has more to read than the buffers hold."""
    _peer: str | None = None
    _answered_early: bool = False
    """Whether the last request was answered before its body had arrived; the timer runs until it has."""

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, or close it if there are too many."""
        super().connection_made(transport)
        self._peer = network_of(self.client[0]) if self.client else None
        if self._peer is not None:
            self.peers[self._peer] += 1
        crowded = self._peer is not None and self.peers[self._peer] > MAX_CONNECTIONS_PER_PEER
        if crowded or len(self.connections) > max_connections():
            self.transport.write(BUSY)
            self.transport.close()
            return
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request; the timer runs while its headers are incomplete."""
        super().data_received(data)
        if self.conn.their_state is h11.SEND_BODY and self._answered_early:
            return
        if self.conn.their_state is not h11.IDLE or self._answered_early:
            self._stop_timer()
        self._answered_early = False
        if self.conn.their_state is h11.IDLE and self._timer is None:
            self._start_timer()

    def on_response_complete(self) -> None:
        """Wait for the next request; a body that is not needed any more gets as much time as headers."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._answered_early = True
            self._stop_timer()
            self._start_timer()

    def pause_writing(self) -> None:
        """Wait for a client that has not read what was sent; one that never does is dropped."""
        super().pause_writing()
        # Not `close`, which waits until everything is sent.
        self._full = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on, as the client has read the greater part."""
        self._stop_full()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        self._stop_full()
        if self._peer is not None:
            self.peers[self._peer] -= 1
            if not self.peers[self._peer]:
                del self.peers[self._peer]
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_full(self) -> None:
        if self._full is not None:
            self._full.cancel()
            self._full = None


class LoadingProtocol(LimitedProtocol):
    """The protocol of a process that only answers that the model is loading, until another takes over its socket.

    No request is lost in between: a connection carries one request, and one whose request has not arrived yet outlives
    the beginning of the shutdown.
    """

    def shutdown(self) -> None:
        """Close the connection, unless its request is yet to come."""
        if self.cycle is not None:
            super().shutdown()


def max_connections() -> int:
    """Return the maximum number of connections: at most half of the files that the process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // 2)


def raise_open_files() -> None:
    """Allow this process to open more files, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (OSError, ValueError):
            log.debug("the limit of open files stays at %d", soft)


class QuietAccepts:
    """An exception handler of an event loop that logs failing accepts once a minute.

    asyncio reports each of them with a traceback, hundreds per second once no more files can be opened.
    """

    def __init__(self) -> None:
        self._last = -QUIET_SECONDS

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle what asyncio reports."""
        if "accept" not in str(context.get("message", "")):
            loop.default_exception_handler(context)
        elif time.monotonic() - self._last >= QUIET_SECONDS:
            self._last = time.monotonic()
            log.warning("connections can't be accepted: %s", context.get("exception"))
