"""An HTTP server that answers with the bytes that a test gives it, however wrong they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

Respond = Callable[[str, dict[str, Any]], "Sequence[bytes] | bytes"]
"""Returns the answer to a path and a JSON body, in parts that are sent one after the other."""


def reply(status: int = 200, body: bytes | str | object = b"", **headers: str) -> bytes:
    """Return a whole answer; a body that is not text is sent as JSON."""
    if isinstance(body, str):
        body = body.encode()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(data)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + data


def stream(*parts: bytes, content_type: str = "text/event-stream", ends: bool = True) -> list[bytes]:
    """Return a streamed answer of these parts; one that does not end is cut."""
    head = f"HTTP/1.1 200 X\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n"
    chunks = [f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts]
    return [head.encode() + b"Connection: close\r\n\r\n", *chunks, *([b"0\r\n\r\n"] if ends else [])]


def event(text: str = "", **fields: Any) -> bytes:
    """Return a server-sent event with one choice."""
    choice = {"index": 0, "text": text} | fields
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


class ScriptedServer:
    """A server on a free port of the loopback interface, or on a unix socket."""

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[str] = []
        self.sent = 0
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self, socket: Path | None = None) -> AsyncIterator[ScriptedServer]:
        """Serve until the context ends."""
        if socket is not None:
            server: asyncio.Server = await asyncio.start_unix_server(self._serve, socket)
        else:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.headers.append(head)
            path = head.split(" ")[1]
            length = next(
                (int(x.split(":")[1]) for x in head.lower().split("\r\n") if "content-length" in x), 0
            )
            body = json.loads(await reader.readexactly(length) or b"{}")
            self.requests.append((path, body))
            answer = self.respond(path, body)
            for part in [answer] if isinstance(answer, bytes) else answer:
                writer.write(part)
                self.sent += len(part)
                await writer.drain()
        writer.close()
