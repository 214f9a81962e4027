"""One engine process: its socket, its lock, its token, its end.

Knows sockets, signals and uvicorn. The socket listens before torch is imported, so that whoever joins sees at
once that the model is loading.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.http.app import EngineApp
from codegen_lsp.engine.metrics import Metrics
from codegen_lsp.engine.worker import Worker
from codegen_lsp.wire.config import SOCKET_BYTES, ConfigError, EngineConfig, runtime_dir

log = logging.getLogger(__name__)

ERROR_SECONDS = 60.0
"""An engine that could not load its model leaves after this many seconds without requests."""

ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Threads that wait for each other spin for milliseconds by default. Where something else wants the processor
    # too, an editor or a compiler, each then waits for one that is not running: a step took eight times as long.
    "GOMP_SPINCOUNT": "10000",
}
"""Environment in which the libraries keep to themselves; set before torch is imported, where it is not set."""


class AlreadyRunning(Exception):  # noqa: N818
    """Another engine serves this socket; that is what was wanted."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine listens: a unix socket, or a host and port with a token."""

    path: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Only this machine can connect."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def check_address(address: Address) -> None:
    """Refuse to be open to others without a token.

    Raises:
        ConfigError: the address is no loopback one and there is no token.
    """
    if not address.is_loopback and not address.token:
        raise ConfigError(
            f"{address.host} can be reached by others, so it needs a token: pass --token or set CODEGEN_LSP_TOKEN"
        )


def run(config: EngineConfig, address: Address, idle_timeout: float = 900.0) -> None:
    """Serve until the engine is idle for `idle_timeout` seconds (0: for ever), is told to stop, or gets SIGTERM.

    Raises:
        AlreadyRunning: another engine serves this socket.
        ConfigError: the address can't be had.
        CheckpointError: the model's name means nothing.
    """
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    check_address(address)
    checkpoint = locate.resolve(config.model, config.revision)
    with contextlib.ExitStack() as stack:
        token = address.token
        if address.path is not None:
            listener = stack.enter_context(_unix_listener(address.path))
            where = f"unix:{address.path}"
        else:
            listener = stack.enter_context(_tcp_listener(address))
            port = listener.getsockname()[1]
            where = f"http://{address.host}:{port}"
            if token is None:
                token = secrets.token_urlsafe(24)
                file = stack.enter_context(_token_file(port, token))
                where += f" (token in {file})"
        worker = Worker(config, checkpoint, Metrics())
        server = _Server(worker, idle_timeout, token)
        print(f"serving {checkpoint.name} on {where}", flush=True)  # noqa: T201
        server.run(listener)
        if not worker.close():
            # A load that can't be interrupted. The socket and the lock go first; the thread goes with the process.
            stack.close()
            logging.shutdown()
            os._exit(0)


class _Server:
    """uvicorn, with an end of our own."""

    def __init__(self, worker: Worker, idle_timeout: float, token: str | None) -> None:
        self.worker = worker
        self.idle_timeout = idle_timeout
        self.engine = EngineApp(worker, self._stop, token)
        options = uvicorn.Config(
            self.engine.app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            timeout_keep_alive=75,
        )
        self.uvicorn = uvicorn.Server(options)

    def run(self, listener: socket.socket) -> None:
        # uvicorn stops at a signal, then raises it again for the handler that was there before: one that does
        # nothing, so that the socket and the lock are removed.
        previous = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            asyncio.run(self._serve(listener))
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    async def _serve(self, listener: socket.socket) -> None:
        self.worker.start()
        watch = asyncio.create_task(self._watch_idle())
        try:
            await self.uvicorn.serve(sockets=[listener])
        finally:
            watch.cancel()

    def _stop(self) -> None:
        self.uvicorn.should_exit = True

    async def _watch_idle(self) -> None:
        while not self.uvicorn.should_exit:
            await asyncio.sleep(min(1.0, self.idle_timeout / 4 or 1.0))
            if self.worker.busy:
                continue
            idle = min(self.engine.activity.idle_seconds, time.monotonic() - self.worker.settled)
            failed = self.worker.health.state == "error"
            limit = min(self.idle_timeout or ERROR_SECONDS, ERROR_SECONDS) if failed else self.idle_timeout
            if limit and idle >= limit and self.worker.health.state != "loading":
                log.info("nobody used the engine for %.0f s: it leaves", idle)
                self._stop()


@contextlib.contextmanager
def _unix_listener(path: Path) -> Iterator[socket.socket]:
    """A listening unix socket that only this user can connect to, and the only one at its path."""
    if len(os.fsencode(path)) > SOCKET_BYTES:
        raise ConfigError(
            f"the socket's path is too long ({path}); set CODEGEN_LSP_RUNTIME_DIR to a shorter folder"
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path.parent} can't be made: {error.strerror}") from error
    with _lock(path):
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        except OSError as error:
            listener.close()
            raise ConfigError(f"the socket {path} can't be made: {error.strerror}") from error
        finally:
            os.umask(mask)
        listener.listen(128)
        try:
            yield listener
        finally:
            listener.close()
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """The lock of a socket, for as long as the engine lives.

    Raises:
        AlreadyRunning: another engine holds it and answers.
        ConfigError: another process holds it and does not answer.
    """
    name = path.with_name(path.name + ".lock")
    deadline = time.monotonic() + 5
    while True:
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it may have removed the file in between: then this lock guards nothing.
            if name.exists() and os.fstat(handle).st_ino == name.stat().st_ino:
                break
        except BlockingIOError:
            if _answers(path):
                os.close(handle)
                raise AlreadyRunning(f"already running: unix:{path}") from None
            if time.monotonic() > deadline:
                os.close(handle)
                raise ConfigError(
                    f"another engine holds {name} but does not answer; end it and try again"
                ) from None
            time.sleep(0.1)
        os.close(handle)
    try:
        yield
    finally:
        name.unlink(missing_ok=True)
        os.close(handle)


def _answers(path: Path) -> bool:
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=2) as client:
            client.get("http://engine/health")
    except httpx.HTTPError:
        return False
    return True


@contextlib.contextmanager
def _tcp_listener(address: Address) -> Iterator[socket.socket]:
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listener = socket.create_server((address.host, address.port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{address.host}:{address.port} can't be listened on: {error}") from error
    with listener:
        yield listener


@contextlib.contextmanager
def _token_file(port: int, token: str) -> Iterator[Path]:
    path = runtime_dir() / f"{port}.token"
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
        file.write(token)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
