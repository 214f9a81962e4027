"""A small engine without a model: speaks the wire over a unix socket or a port, as scripted.

In a test: `async with FakeEngine(socket) as fake: fake.rows = [...]`. As a process, for what supervises
processes: `python fake_engine.py serve --socket PATH ...`, with a script as JSON in FAKE_ENGINE.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from codegen_lsp.wire.requests import EXTENSIONS


async def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait for something that happens elsewhere."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what happens elsewhere sets no event here
            await asyncio.sleep(0.01)


class FakeEngine:
    def __init__(self, socket: Path | None = None, *, token: str = "", extensions: bool = True) -> None:
        self.socket = socket
        self.token = token
        self.extensions = extensions
        self.rows: list[str] = ["a + b"]
        """What each row says; a request for more rows gets the last one again."""
        self.step = 0.0
        """Seconds between two chunks."""
        self.scoring = 0.0
        """Seconds until an echoed prompt is answered."""
        self.logprob = -0.1
        self.prompt_tokens = 10
        """What it says that it counted in a prompt."""
        self.surprising: dict[str, float] = {}
        """Characters of an echoed prompt whose log-probability is another one."""
        self.context = 2048
        """How many tokens of prompt and completion it says that it can read."""
        self.tokenizer_file = ""
        """The file of its tokenizer, as it names it."""
        self.fill: dict[str, Any] | None = None
        """How it says that it fills in the middle."""
        self.echoes = True
        self.longest = 1_000_000
        """Characters of a prompt from which on it is refused as too long."""
        self.state = "ready"
        self.progress = (0, 0)
        self.message = ""
        self.silent = False
        """Accept connections and say nothing."""
        self.break_after: int | None = None
        """Close the connection after so many chunks."""
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.cancelled = 0
        self.connections = 0
        """Number of connections that were opened."""
        self.last_seen = time.monotonic()
        self.left = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FakeEngine:
        if self.socket is not None:
            self._server = await asyncio.start_unix_server(self._serve, self.socket)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def warmings(self) -> list[dict[str, Any]]:
        """The requests that only filled the cache."""
        return [r for r in self.requests if not r.get("max_tokens") and not r.get("echo")]

    @property
    def completions(self) -> list[dict[str, Any]]:
        """The requests that wanted text."""
        return [r for r in self.requests if r.get("max_tokens")]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        _, path, _ = first.split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if self.silent:
            await asyncio.sleep(3600)
        if path == "/health":
            return self._answer(writer, *self._health())
        self.headers.append(headers)
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            return self._answer(writer, 401, {"error": {"message": "the token is wrong"}})
        if path == "/v1/models":
            model: dict[str, Any] = {"id": "fake", "max_model_len": self.context}
            if self.extensions:
                model["extensions"] = list(EXTENSIONS)
                model["fill_in_the_middle"] = self.fill
            if self.tokenizer_file:
                model["tokenizer_file"] = self.tokenizer_file
            return self._answer(writer, 200, {"object": "list", "data": [model]})
        if path == "/shutdown":
            self._answer(writer, 202, {})
            await writer.drain()
            self.left.set()
            return False
        if path == "/unload":
            self.state = "unloaded"
            return self._answer(writer, 200, {})
        if path != "/v1/completions":
            return self._answer(writer, 404, {"error": {"message": "no such route"}})
        self.last_seen = time.monotonic()
        return await self._complete(json.loads(body), reader, writer)

    def _health(self) -> tuple[int, dict[str, Any]]:
        done, total = self.progress
        body = {
            "status": self.state,
            "model": "fake",
            "message": self.message,
            "progress": {"done": done, "total": total},
            "pid": os.getpid(),
            "version": "0",
        }
        return 200 if self.state in ("ready", "unloaded") else 503, body

    def _error(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Return the status and the body with which a request is refused; None if it is answered."""
        loading = 503, {"error": {"message": "loading", "code": "loading"}}
        if self.state == "unloaded":
            self.state = "ready"
            return loading
        if self.refusal is not None:
            return self.refusal
        if self.state == "loading":
            return loading
        if len(request["prompt"]) > self.longest:
            return 400, {"error": {"message": "longer than the context", "param": "prompt"}}
        return None

    async def _complete(
        self, request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        self.requests.append(request)
        error = self._error(request)
        if error is not None:
            return self._answer(writer, *error)
        if not request.get("stream"):
            seconds = self.step + (self.scoring if request.get("echo") else 0.0)
            if seconds and await self._left_within(reader, seconds):
                return False
            return self._answer(writer, 200, self._whole(request))
        rows = [self.rows[min(i, len(self.rows) - 1)] for i in range(request.get("n", 1))]
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        if not await self._stream(rows, reader, writer):
            return False
        writer.write(self._chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _stream(
        self, rows: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Write the rows, four characters a chunk; return whether the client stayed until the end."""
        longest = max(map(len, rows), default=0)
        async with self._departure(reader) as gone:
            for sent, start in enumerate(range(0, longest + 1, 4)):
                if self.break_after is not None and sent >= self.break_after:
                    return False
                await asyncio.wait([gone], timeout=self.step)
                if gone.done():
                    self.cancelled += 1
                    return False
                finish = "stop" if start + 4 > longest else None
                choices = [self._choice(i, row[start : start + 4], finish) for i, row in enumerate(rows)]
                self._event(writer, self._body(choices, start))
                try:
                    await writer.drain()
                except ConnectionError:  # it has left with chunks unread
                    self.cancelled += 1
                    return False
        return True

    @staticmethod
    @contextlib.asynccontextmanager
    async def _departure(reader: asyncio.StreamReader) -> AsyncIterator[asyncio.Future[bytes]]:
        """Yield a future that is done once the client closes its connection."""
        gone = asyncio.ensure_future(reader.read(1))
        try:
            yield gone
        finally:
            gone.cancel()
            # A client that leaves before it has read everything resets the connection.
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await gone

    async def _left_within(self, reader: asyncio.StreamReader, seconds: float) -> bool:
        """Whether the client closes the connection before an answer that takes so long."""
        async with self._departure(reader) as gone:
            await asyncio.wait([gone], timeout=seconds)
            left = gone.done()
        self.cancelled += left
        return left

    def _choice(self, index: int, text: str, finish: str | None) -> dict[str, Any]:
        logprobs = {
            "tokens": [text] if text else [],
            "token_logprobs": [self.logprob] if text else [],
            "top_logprobs": [],
            "text_offset": [0] if text else [],
        }
        return {"index": index, "text": text, "finish_reason": finish, "logprobs": logprobs}

    def _body(self, choices: list[dict[str, Any]], at: int = 0) -> dict[str, Any]:
        usage = {"prompt_tokens": self.prompt_tokens, "completion_tokens": at}
        usage |= {"prompt_tokens_details": {"cached_tokens": 4}}
        return {"id": "1", "model": "fake", "created": 0, "choices": choices, "usage": usage}

    def _whole(self, request: dict[str, Any]) -> dict[str, Any]:
        prompts = request["prompt"] if isinstance(request["prompt"], list) else [request["prompt"]]
        choices = []
        for index, text in enumerate(prompts):
            choice = self._choice(index, "", "length")
            if request.get("echo") and self.echoes:
                start = request.get("echo_from", 0)
                letters = list(text[start:])
                choice["text"] = text[start:]
                choice["logprobs"] = {
                    "tokens": letters,
                    "token_logprobs": [
                        None if start + at == 0 else self.surprising.get(letter, self.logprob)
                        for at, letter in enumerate(letters)
                    ],
                    "top_logprobs": [],
                    "text_offset": list(range(start, len(text))),
                }
            choices.append(choice)
        return self._body(choices)

    def _answer(self, writer: asyncio.StreamWriter, status: int, body: dict[str, Any]) -> bool:
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        return True

    def _event(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        writer.write(self._chunk(b"data: " + json.dumps(body).encode() + b"\n\n"))

    @staticmethod
    def _chunk(data: bytes) -> bytes:
        return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def _process(socket: Path, script: dict[str, Any]) -> int:
    if "show" in script:
        print(json.dumps({name: os.environ.get(name) for name in script["show"]} | {"cwd": os.getcwd()}))  # noqa: PTH109
        sys.stdout.flush()
    if "crash" in script:
        print(script.get("says", "it broke"), file=sys.stderr)
        return int(script["crash"])
    async with FakeEngine(socket) as fake:
        if "rows" in script:
            fake.rows = script["rows"]
        fake.step = script.get("step", 0.0)
        if "load" in script:
            fake.state, fake.message = "loading", "Loading fake."
            for done in range(4):
                fake.progress = (done, 4)
                await asyncio.sleep(script["load"] / 4)
            fake.state = "ready"
        if "fail" in script:
            fake.state, fake.message = "error", script["fail"]
        leave = script.get("leave", 60)  # Never outlive a test by long.
        while time.monotonic() - fake.last_seen < leave:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(fake.left.wait(), 0.05)
                break
    return 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    path = Path(arguments[arguments.index("--socket") + 1])
    path.unlink(missing_ok=True)
    code = asyncio.run(_process(path, json.loads(os.environ.get("FAKE_ENGINE", "{}"))))
    path.unlink(missing_ok=True)
    time.sleep(json.loads(os.environ.get("FAKE_ENGINE", "{}")).get("linger", 0))
    sys.exit(code)
