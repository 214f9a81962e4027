"""Clients that hold connections open, and logs that must not fill the disk."""

from __future__ import annotations

import logging
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.served import Served, serving, serving_network

from codegen_lsp.engine.http.logs import MAX_LOG, CappedHandler

pytestmark = pytest.mark.e2e


def connections(engine: Served, count: int, request: bytes) -> Iterator[socket.socket]:
    """Connections that have sent a part of a request."""
    for _ in range(count):
        opened = socket.socket(socket.AF_UNIX if isinstance(engine.address, Path) else socket.AF_INET)
        opened.settimeout(30)
        try:
            opened.connect(str(engine.address) if isinstance(engine.address, Path) else engine.address)
            opened.sendall(request)
        except OSError:
            opened.close()
            continue
        yield opened


def is_closed(opened: socket.socket) -> bool:
    """Whether the engine closes a connection, with an answer or without, while we wait for it."""
    try:
        while opened.recv(4096):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_headers_that_never_end_lock_nobody_out(tmp_path: Path) -> None:
    with serving(tmp_path) as engine:
        hard = resource.prlimit(engine.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, (200, hard))
        slow = list(connections(engine, 300, b"POST /v1/completions HTTP/1.1\r\nX-Slow: "))
        try:
            # More than a hundred are closed at once, the others when their time is over.
            for opened in slow:
                assert is_closed(opened)
        finally:
            for opened in slow:
                opened.close()
        assert engine.health()["status"] == "ready"
    assert (tmp_path / "engine.log").stat().st_size < 20_000


def test_one_machine_may_open_so_many_connections_and_no_more(tmp_path: Path) -> None:
    with serving_network(tmp_path, "--token", "t", token="t") as engine:
        opened = list(connections(engine, 80, b"GET /health HTTP/1.1\r\n"))
        refused = 0
        for connection in opened[70:]:
            refused += b"503" in connection.recv(100)
        for connection in opened:
            connection.close()
        assert refused == 10
        deadline = time.monotonic() + 20
        while engine.client.get("/health").status_code != 200:
            assert time.monotonic() < deadline


def test_a_log_file_is_emptied_before_it_fills_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    path.write_bytes(b"x" * (MAX_LOG + 1))
    with path.open("a") as stream:
        handler = CappedHandler(stream)
        handler.emit(logging.LogRecord("name", logging.INFO, "path", 1, "the next line", None, None))
    assert path.stat().st_size < 200
    assert "the next line" in path.read_text()
