"""Clients that send their requests slowly, don't read their answers, or claim to be more urgent than others."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from support.served import Served, running, serving_network, until

pytestmark = pytest.mark.e2e

IMPATIENT = """
import sys
from codegen_lsp.cli import main
from codegen_lsp.engine.http import bodies, connections
bodies.BODY_SECONDS = connections.SEND_SECONDS = 1.5
main(sys.argv[1:])
"""
"""An engine that waits for clients for a second and a half instead of a minute."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    runtime = tmp_path_factory.mktemp("run")
    path = runtime / "engine.sock"
    client = httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://engine", timeout=60)
    command = [sys.executable, "-c", IMPATIENT, "serve", "--socket", str(path)]
    with running(runtime, command, client, path, None) as served:
        served.wait()
        yield served


def connected(engine: Served, sent: bytes) -> socket.socket:
    """Return a connection on which `sent` was sent."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(str(engine.address))
    connection.sendall(sent)
    return connection


def head(path: str, framing: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: engine\r\n{framing}\r\n\r\n".encode()


def post(body: dict[str, Any]) -> bytes:
    data = json.dumps(body).encode()
    return head("/v1/completions", f"Content-Length: {len(data)}") + data


def unix_connections(engine: Served) -> list[Any]:
    found = psutil.Process(engine.process.pid).net_connections(kind="unix")
    return [c for c in found if str(engine.address) in str(c.laddr)]


def test_a_body_that_never_comes_is_a_timeout(engine: Served) -> None:
    with connected(engine, head("/v1/completions", "Content-Length: 100")) as slow:
        answer = b""
        while not answer.endswith(b"}"):
            part = slow.recv(4096)
            assert part, answer
            answer += part
    assert b" 408 " in answer
    assert b"did not arrive" in answer


def test_a_body_byte_by_byte_is_a_timeout(engine: Served) -> None:
    with connected(engine, head("/v1/completions", "Content-Length: 9999")) as slow:
        slow.settimeout(0.05)
        answer = b""
        deadline = time.monotonic() + 30
        while not answer and time.monotonic() < deadline:
            try:
                slow.sendall(b" ")
                answer = slow.recv(4096)
            except TimeoutError:
                continue
    assert b" 408 " in answer


def test_a_body_that_comes_after_the_answer_holds_no_connection(engine: Served) -> None:
    with connected(engine, head("/nowhere", "Transfer-Encoding: chunked")) as slow:
        slow.settimeout(0.2)
        answer, ended = b"", False
        deadline = time.monotonic() + 30
        while not ended and time.monotonic() < deadline:
            try:
                slow.sendall(b"1\r\nx\r\n")
                part = slow.recv(4096)
                answer, ended = answer + part, not part
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
    assert b" 404 " in answer
    assert ended


def test_a_client_that_does_not_read_is_dropped_and_its_request_cancelled(engine: Served) -> None:
    before = engine.metrics()['codegen_requests_total{outcome="cancelled"}']
    body = {"prompt": "x = ", "n": 16, "max_tokens": 1500, "stream": True, "logprobs": 20}
    idle = len(unix_connections(engine))
    with connected(engine, post(body)):
        until(lambda: engine.metrics()["codegen_requests_running"] == 1)
        until(lambda: engine.metrics()['codegen_requests_total{outcome="cancelled"}'] == before + 1, 120)
        assert engine.metrics()["codegen_requests_running"] == 0
        until(lambda: len(unix_connections(engine)) == idle)


def test_a_client_that_reads_no_answers_is_dropped(engine: Served) -> None:
    """Its requests are many and small: the answers fill the buffers between them."""
    idle = len(unix_connections(engine))
    with connected(engine, b"") as deaf:
        deaf.settimeout(0.5)
        with contextlib.suppress(OSError):
            while True:
                deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        until(lambda: len(unix_connections(engine)) == idle)
    assert engine.health()["status"] == "ready"


def test_a_priority_of_a_user_on_the_network_overtakes_nobody(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("ann\nbob\n")
    tokens.chmod(0o600)
    ended: list[str] = []
    # Memory for one request at a time, so that the others wait in their order.
    options = ("--token-file", str(tokens), "--request-memory", "12MiB")
    with serving_network(tmp_path, *options, token="ann") as engine, ThreadPoolExecutor(3) as threads:

        def ask(name: str, token: str, tokens: int, priority: int) -> None:
            body = {"prompt": "x = ", "max_tokens": tokens, "temperature": 0, "priority": priority}
            headers = {"Authorization": f"Bearer {token}"}
            httpx.post(
                f"{engine.client.base_url}/v1/completions", json=body, headers=headers, timeout=120
            ).raise_for_status()
            ended.append(name)

        asked = [threads.submit(ask, "running", "ann", 1000, 0)]
        until(lambda: engine.metrics()["codegen_requests_running"] == 1)
        asked.append(threads.submit(ask, "bob", "bob", 900, 0))
        until(lambda: engine.metrics()["codegen_requests_waiting"] == 1)
        asked.append(threads.submit(ask, "urgent", "ann", 900, -100))
        until(lambda: engine.metrics()["codegen_requests_waiting"] == 2)
        assert ended == []
        for request in asked:
            request.result()
    assert ended == ["running", "bob", "urgent"]
