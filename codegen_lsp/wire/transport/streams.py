"""Read the answers of HTTP: bounded in size, never compressed, server-sent events as they come."""

from __future__ import annotations

import codecs
import re
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING

from codegen_lsp.wire.errors import InvalidAnswerError

if TYPE_CHECKING:
    import httpx

MAX_BODY = 64 * 2**20
"""Maximum number of bytes of one answer. A long echo with log-probabilities takes some ten million."""
MAX_LINE = 8 * 2**20
"""Maximum number of bytes of one event of a stream."""
MAX_LINES = 1_000_000
"""Maximum number of lines of a stream, with comments and empty lines."""
MAX_REFUSAL = 64 * 1024
"""Bytes of an error page that are read."""


def check_encoding(response: httpx.Response) -> None:
    """Refuse a compressed answer: a small one could grow without bound, and none was asked for.

    Raises:
        InvalidAnswerError: the answer is compressed.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise InvalidAnswerError(
            f"the server's answer is compressed ({encoding[:40]}), which was not asked for"
        )


async def read_body(response: httpx.Response, limit: int = MAX_BODY) -> bytes:
    """Return the body of an answer.

    Raises:
        InvalidAnswerError: it is longer than `limit` bytes, or compressed.
    """
    check_encoding(response)
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > limit:
            raise InvalidAnswerError(f"the server's answer is longer than {limit:,} bytes")
    return bytes(body)


async def read_refusal(response: httpx.Response) -> str:
    """Return the beginning of an error's body, empty if that is compressed."""
    body = bytearray()
    if response.headers.get("content-encoding", "identity") == "identity":
        async for part in response.aiter_raw():
            body += part
            if len(body) > MAX_REFUSAL:
                break
    return body[:MAX_REFUSAL].decode("utf-8", "replace")


async def events(response: httpx.Response, *, whole: bool = False) -> AsyncGenerator[bytes]:
    """Yield the data of server-sent events as they come, one JSON document each, without the final `[DONE]`.

    With `whole` the answer is read to its end, which follows that at once: its connection serves the next request.

    Raises:
        InvalidAnswerError: the stream or one of its lines is too long, or compressed.
    """
    check_encoding(response)
    lines, reader = LineSplitter(), EventReader()
    async for part in response.aiter_raw():
        for line in lines.feed(part):
            for data in reader.feed(line):
                yield data
            if reader.is_done and not whole:
                return
    for line in (lines.remainder, b""):
        for data in reader.feed(line):
            yield data


class EventReader:
    """Puts the lines of server-sent events together.

    An event's data may take several lines. It is passed on at the event's end, or once its braces are balanced, for
    servers that send no empty line between events. Errors that servers mark by the event's name, or by a field
    named `error` as llama.cpp does, become a document of an error.
    """

    def __init__(self) -> None:
        self.is_done = False
        self._data: list[bytes] = []
        self._is_error = False
        self._is_first = True

    def feed(self, line: bytes) -> Iterator[bytes]:
        """Yield the documents that are complete with a line."""
        if self._is_first:
            self._is_first, line = False, line.removeprefix(codecs.BOM_UTF8)
        name, _, value = line.partition(b":")
        value = value.strip()
        if name == b"event":
            self._is_error = value == b"error"
        elif name == b"error" and value:
            yield _as_error(value)
        elif name == b"data" and value == b"[DONE]":
            yield from self._flush()
            self.is_done = True
        elif name == b"data" and value:
            if self._data and value.startswith(b"{") and self._data[-1].endswith(b"}"):
                yield from self._flush()
            self._data.append(value)
            if sum(part.count(b"{") - part.count(b"}") for part in self._data) == 0:
                yield from self._flush()
        elif not line:
            yield from self._flush()
            self._is_error = False

    def _flush(self) -> Iterator[bytes]:
        data, self._data = b"\n".join(self._data), []
        if data:
            yield _as_error(data) if self._is_error else data


def _as_error(data: bytes) -> bytes:
    """Return a document of an error around what a server says of it."""
    is_document = data.startswith(b"{") and b'"error"' in data
    return data if is_document else b'{"error": %b}' % data


class LineSplitter:
    r"""Splits a stream of server-sent events into lines, which end in `\n`, `\r` or `\r\n`.

    No other character ends a line: U+2028, U+2029 and U+0085 may be part of a text. A `\r\n` that arrives in two parts
    gives an additional empty line, which has no meaning between events.
    """

    def __init__(self, limit: int = MAX_LINE, total: int = MAX_BODY) -> None:
        self._limit, self._total = limit, total
        self._pending = bytearray()
        self._size = 0
        self._lines = 0

    @property
    def remainder(self) -> bytes:
        """The text after the last line end."""
        return bytes(self._pending)

    def feed(self, part: bytes) -> Iterator[bytes]:
        """Yield the lines that end in this part of the stream.

        Raises:
            InvalidAnswerError: a line is longer than `limit` bytes, the stream is longer than `total` bytes, or has too
                many lines.
        """
        self._size += len(part)
        *ended, remainder = re.split(rb"\r\n|\r|\n", part)
        self._lines += len(ended)
        if self._lines > MAX_LINES:
            raise InvalidAnswerError(f"the server's answer has more than {MAX_LINES:,} lines")
        for line in ended:
            yield bytes(self._pending + line)
            self._pending.clear()
        self._pending += remainder
        for size, limit in ((len(self._pending), self._limit), (self._size, self._total)):
            if size > limit:
                raise InvalidAnswerError(f"the server's answer is longer than {limit:,} bytes")


def has_known_end(response: httpx.Response) -> bool:
    """Return whether the end of an answer can be told from a broken connection."""
    headers = response.headers
    return "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
