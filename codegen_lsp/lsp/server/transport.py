"""Messages over a pair of byte streams: cut, decoded, handed to the event loop in order.

Knows LSP's base protocol (headers, lengths, JSON) and how to continue after a broken frame: one bad message costs
that message and nothing else. Knows no methods. A separate thread reads, so that a message of 5 MB is decoded while
the event loop serves others, and so that client and server never wait for each other's pipe.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

logger = logging.getLogger(__name__)

MAX_MESSAGE = 256 * 2**20
"""Maximum size of a message, in bytes."""
MAX_WAITING = 1024
"""Maximum number of messages that wait for the event loop; then the client's pipe fills, and the client waits."""

_LENGTH = re.compile(rb"content-length[ \t]*:[ \t]*(\d{1,18})\s*\Z", re.IGNORECASE)
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*[ \t]*:")


class FrameError(Exception):
    """A frame that can't be read; reading can continue with the next one."""


def read_frame(stream: BinaryIO) -> bytes | None:
    """Return the next message's body, None at the end of the stream.

    Raises:
        FrameError: the stream holds something other than headers and a body. The next call searches for the next
            header.
    """
    length: int | None = None
    garbage = False
    while line := stream.readline(65536):
        # Searched, not matched: the remains of a broken body are on the same line as the next header.
        header = _LENGTH.search(line)
        if header:
            length = int(header[1])
            garbage = garbage or header.start() > 0
        elif line.strip():
            garbage = garbage or not _HEADER.match(line) or line[:14].lower() == b"content-length"
        elif length is not None:
            if length > MAX_MESSAGE:
                raise FrameError(f"a message of {length} bytes is larger than {MAX_MESSAGE}")
            body = stream.read(length)
            if len(body) < length:
                return None
            if garbage:
                logger.warning("skipped bytes that are not a message")
            return body
        elif garbage:
            raise FrameError("the headers have no Content-Length")
    return None


def decode(body: bytes) -> Any:
    """Return the JSON value in a body.

    Raises:
        FrameError: the body is not JSON, or nested too deep to read.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"the message is not JSON ({type(error).__name__})") from error


class Writer:
    """Writes to a stream that may be closed; a broken pipe ends the session and raises nothing."""

    def __init__(self, stream: BinaryIO, on_broken: Callable[[], None]) -> None:
        self._stream = stream
        self._on_broken = on_broken
        self._broken = False

    def write(self, data: bytes) -> None:
        """Write a whole message."""
        if self._broken:
            return
        try:
            self._stream.write(data)
            self._stream.flush()
        except (OSError, ValueError):
            self._broken = True
            self._on_broken()

    def close(self) -> None:
        """Do nothing: the caller that opened the stream closes it."""


class Reader:
    """Reads messages in a thread and calls `on_message` with each of them in the event loop, in order."""

    def __init__(
        self,
        stream: BinaryIO,
        on_message: Callable[[Any], None],
        on_error: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._on_message = on_message
        self._on_error = on_error
        self._on_end = on_end
        self._room = threading.Semaphore(MAX_WAITING)

    def start(self) -> None:
        """Start to read; must be called in the running event loop."""
        import asyncio  # Not with the module: the handshake reads frames long before there is a loop.

        self._loop = asyncio.get_running_loop()
        # A daemon thread: one that waits for the client's next byte can't be stopped.
        threading.Thread(target=self._read, name="lsp-reader", daemon=True).start()

    def _read(self) -> None:
        try:
            while (frame := self._next()) is not None:
                self._room.acquire()
                self._loop.call_soon_threadsafe(self._deliver, *frame)
            self._loop.call_soon_threadsafe(self._on_end)
        except RuntimeError:
            logger.debug("the event loop has ended")

    def _next(self) -> tuple[Callable[[Any], None], Any] | None:
        try:
            body = read_frame(self._stream)
            return None if body is None else (self._on_message, decode(body))
        except FrameError as error:
            return self._on_error, str(error)
        except (OSError, ValueError):
            return None

    def _deliver(self, handle: Callable[[Any], None], value: Any) -> None:
        self._room.release()
        handle(value)
