"""A client without manners: sends whatever bytes a test wants, and collects what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from codegen_lsp.headless_editor import end
from support.editor import SERVER
from support.fake_engine import until


def frame(message: Any) -> bytes:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class RawClient:
    """A language server process and its pipes, as an async context manager."""

    def __init__(self, env: Mapping[str, str], command: Sequence[str] = SERVER) -> None:
        self.env, self.argv = env, command
        self.received: list[dict[str, Any]] = []
        self.errors = b""
        self._next = 0

    async def __aenter__(self) -> RawClient:
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            *self.argv, stdin=pipe, stdout=pipe, stderr=pipe, env=self.env
        )
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._read_errors())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        if self.process.returncode is None:
            self.process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(15):
                    await self.process.wait()
            if self.process.returncode is None:
                self.process.kill()
        await asyncio.gather(*self._tasks)
        await end(self.process)

    async def send(self, *messages: Any) -> None:
        """Send messages, each framed."""
        await self.bytes(b"".join(frame(m) for m in messages))

    async def bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    def request(self, method: str, params: Any = None) -> dict[str, Any]:
        """A request with a fresh id."""
        self._next += 1
        return {"jsonrpc": "2.0", "id": self._next, "method": method} | (
            {} if params is None else {"params": params}
        )

    async def ask(self, method: str, params: Any = None, seconds: float = 30) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        request = self.request(method, params)
        await self.send(request)
        return await self.answer(request["id"], seconds)

    async def answer(self, request_id: Any, seconds: float = 30) -> dict[str, Any]:
        await until(lambda: self.answers(request_id), seconds)
        return self.answers(request_id)[0]

    def answers(self, request_id: Any) -> list[dict[str, Any]]:
        """All answers to a request; there must be one at most."""
        return [m for m in self.received if m.get("id") == request_id and "method" not in m]

    async def initialize(self, capabilities: Any = None, options: Any = None) -> dict[str, Any]:
        answer = await self.ask(
            "initialize",
            {
                "processId": None,
                "rootUri": None,
                "capabilities": capabilities or {},
                "initializationOptions": options,
            },
        )
        await self.send({"jsonrpc": "2.0", "method": "initialized", "params": {}})
        return answer

    async def open(self, uri: str, text: str, language: str = "python") -> None:
        document = {"uri": uri, "languageId": language, "version": 1, "text": text}
        await self.notify("textDocument/didOpen", {"textDocument": document})

    async def notify(self, method: str, params: Any = None) -> None:
        await self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def inline(self, uri: str, line: int, character: int, **more: Any) -> dict[str, Any]:
        """Parameters of an inlineCompletion request."""
        return {
            "textDocument": {"uri": uri},
            "position": {"line": line, "character": character},
            "context": {"triggerKind": 2},
        } | more

    @property
    def status(self) -> dict[str, Any]:
        found = [m["params"] for m in self.received if m.get("method") == "didChangeStatus"]
        return found[-1] if found else {"state": "none"}

    @property
    def shown(self) -> list[str]:
        """What was shown to the user."""
        return [m["params"]["message"] for m in self.received if m.get("method") == "window/showMessage"]

    async def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(asyncio.IncompleteReadError):
            while head := await self.process.stdout.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.received.append(json.loads(await self.process.stdout.readexactly(length)))

    async def _read_errors(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.errors += line
