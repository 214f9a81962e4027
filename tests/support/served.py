"""A real engine process, and a client for it."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from support.engines import stop


@dataclass
class Served:
    """A running engine."""

    process: subprocess.Popen[str]
    client: httpx.Client
    address: Path | tuple[str, int]

    @property
    def socket(self) -> Path:
        """The unix socket that it listens on."""
        assert isinstance(self.address, Path)
        return self.address

    def health(self) -> dict[str, Any]:
        body: dict[str, Any] = self.client.get("/health").json()
        return body

    def listens(self) -> bool:
        """Whether the engine takes connections."""
        unix = isinstance(self.address, Path)
        with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as probe:
            return probe.connect_ex(str(self.address) if unix else self.address) == 0

    def wait(self, state: str = "ready", seconds: float = 120) -> dict[str, Any]:
        """Wait for a state of the model."""
        deadline = time.monotonic() + seconds
        body: dict[str, Any] = {}
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the engine left with {self.process.returncode}"
            # httpx leaks a socket for each connection that fails: ask only where somebody listens.
            if self.listens():
                body = self.health()
                if body["status"] == state:
                    return body
            time.sleep(0.05)
        raise AssertionError(f"still {body}")

    def complete(self, prompt: Any = "def f(", **fields: Any) -> dict[str, Any]:
        """The answer to a request that must succeed."""
        response = self.client.post("/v1/completions", json={"prompt": prompt, "temperature": 0, **fields})
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    def metrics(self) -> dict[str, float]:
        """The counters by their names, labels included."""
        lines = self.client.get("/metrics").text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    @property
    def pid(self) -> int:
        """The number of the process that serves, which is a child of the one that was started."""
        return int(self.health()["pid"])

    @property
    def rss(self) -> int:
        return int(psutil.Process(self.pid).memory_info().rss)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def environment(runtime: Path, **more: str) -> dict[str, str]:
    """The environment of a process of ours: one thread, no network wanted, a runtime folder of its own."""
    own = {
        "CODEGEN_LSP_RUNTIME_DIR": str(runtime),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(runtime / "hub"),
        "CODEGEN_LSP_MODELS_DIR": str(runtime / "models"),
        "OMP_NUM_THREADS": "1",
    }
    return {**os.environ, **own, **more}


@contextmanager
def serving(
    runtime: Path, *arguments: str, wait: bool = True, env: dict[str, str] | None = None
) -> Iterator[Served]:
    """An engine on a socket in `runtime`; ended, and waited for, at the end."""
    path = runtime / "engine.sock"
    if "--socket" in arguments:
        path = Path(arguments[arguments.index("--socket") + 1])
    command: Sequence[str] = [
        *(sys.executable, "-m", "codegen_lsp", "serve", "--socket", str(path)),
        *arguments,
    ]
    client = httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://engine", timeout=60)
    with running(runtime, command, client, path, env) as served:
        if wait:
            served.wait()
        yield served


@contextmanager
def serving_network(runtime: Path, *arguments: str, token: str, tls: Path | None = None) -> Iterator[Served]:
    """A ready engine that other machines can reach, with a client that has a token and trusts a certificate."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "codegen_lsp",
        "serve",
        "--host",
        "0.0.0.0",
        "--port",
        str(port),
        *arguments,
    ]
    headers = {"Authorization": f"Bearer {token}"}
    scheme = "https" if tls else "http"
    trust = ssl.create_default_context(cafile=tls) if tls else True
    client = httpx.Client(base_url=f"{scheme}://127.0.0.1:{port}", headers=headers, timeout=60, verify=trust)
    with running(runtime, command, client, ("127.0.0.1", port), None) as served:
        served.wait()
        yield served


@contextmanager
def running(
    runtime: Path,
    command: Sequence[str],
    client: httpx.Client,
    address: Path | tuple[str, int],
    env: dict[str, str] | None,
) -> Iterator[Served]:
    """The process of an engine; ended, and waited for, at the end."""
    with (runtime / "engine.log").open("a") as log:
        process = subprocess.Popen(
            command, env=environment(runtime, **(env or {})), stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        yield Served(process, client, address)
    finally:
        client.close()
        stop(process)
        if process.stdout is not None:
            process.stdout.close()
