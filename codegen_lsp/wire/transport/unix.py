"""An httpx transport for unix sockets on asyncio's streams and h11, which costs less per request than httpx's own.

The language server sends a request at each keystroke that asks the engine, on the cores that the engine computes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import h11
import httpx

MAX_HEAD = 100 * 2**10
"""Maximum number of bytes of an answer's headers."""

READ_BYTES = 64 * 2**10
"""Maximum number of bytes of one part of an answer."""

MAX_IDLE = 8
"""Maximum number of connections that are kept for later requests."""


class UnixTransport(httpx.AsyncBaseTransport):
    """Sends requests through a unix socket; a connection whose answer was read to its end serves another one."""

    def __init__(self, socket: Path) -> None:
        """Connect to nothing yet."""
        self._socket = str(socket)
        self._used: set[_UnixConnection] = set()
        self._idle: list[_UnixConnection] = []
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the answer as soon as its headers are there.

        Raises:
            httpx.TransportError: no process takes connections, the connection broke, or it took too long.
        """
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        connection = await self._connected(timeouts.get("connect"))
        self._used.add(connection)
        connection.patience = timeouts.get("read")
        try:
            head = await connection.send(request, await request.aread())
        except BaseException:
            await self.give_back(connection)
            raise
        body = _UnixBody(self, connection)
        return httpx.Response(head.status_code, headers=head.headers.raw_items(), stream=body)

    async def give_back(self, connection: _UnixConnection) -> None:
        """Keep a connection if its whole answer was read; close it otherwise, which stops the server's work."""
        self._used.discard(connection)
        if not self._is_closed and len(self._idle) < MAX_IDLE and connection.renew():
            self._idle.append(connection)
        else:
            await connection.close()

    async def aclose(self) -> None:
        """Close all connections; requests that are not answered yet fail."""
        self._is_closed = True
        for connection in [*self._idle, *self._used]:
            await connection.close()
        self._idle.clear()

    async def _connected(self, seconds: float | None) -> _UnixConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            await connection.close()
        try:
            async with asyncio.timeout(seconds):
                return _UnixConnection(*await asyncio.open_unix_connection(self._socket))
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"{self._socket} takes no connections") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error


class _UnixConnection:
    """A connection, for one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self.patience: float | None = None
        """Seconds within which each part of an answer must come."""

    @property
    def is_open(self) -> bool:
        """Whether the server has neither closed the connection nor sent something that nothing asked for."""
        return not (self._writer.is_closing() or self._reader.at_eof() or self._http.trailing_data[0])

    async def send(self, request: httpx.Request, body: bytes) -> h11.Response:
        """Send a request with its body, and return the head of the answer."""
        try:
            head = h11.Request(
                method=request.method, target=request.url.raw_path, headers=request.headers.raw
            )
            parts = [self._http.send(each) for each in (head, h11.Data(data=body), h11.EndOfMessage())]
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        try:
            async with asyncio.timeout(self.patience):
                self._writer.write(b"".join(filter(None, parts)))
                await self._writer.drain()
        except TimeoutError as error:
            raise httpx.WriteTimeout("the request is not read") from error
        except OSError as error:
            raise httpx.WriteError(str(error)) from error
        while not isinstance(event := await self.next_event(), h11.Response):
            pass
        return event

    async def next_event(self) -> Any:
        """Return the next part of the answer."""
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                async with asyncio.timeout(self.patience):
                    data = await self._reader.read(READ_BYTES)
                self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        except TimeoutError as error:
            raise httpx.ReadTimeout("no answer came in time") from error
        except OSError as error:
            raise httpx.ReadError(str(error)) from error
        return event

    def renew(self) -> bool:
        """Get ready for the next request, if the answer to the last one has ended and the server stays."""
        http = self._http
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
            return False
        http.start_next_cycle()
        return self.is_open

    async def close(self) -> None:
        """Close the connection; what is not sent yet is dropped."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class _UnixBody(httpx.AsyncByteStream):
    """The body of an answer, whose end gives the connection back."""

    def __init__(self, transport: UnixTransport, connection: _UnixConnection) -> None:
        self._transport = transport
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield its parts as they come."""
        while isinstance(event := await self._connection.next_event(), h11.Data):
            yield bytes(event.data)

    async def aclose(self) -> None:
        """Give the connection back, whether or not all was read."""
        await self._transport.give_back(self._connection)
