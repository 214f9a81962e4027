"""Run one engine, from its start to its end.

Knows signals and uvicorn. The socket listens before torch is imported, so that clients learn at once that the model is
loading. On a unix socket the engine is the child of a keeper, which replaces it when it crashes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import secrets
import signal
import socket
import ssl
import time
from dataclasses import dataclass, replace
from pathlib import Path

import uvicorn

from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.checkpoints.checkpoint import Checkpoint
from codegen_lsp.engine.http import keeper
from codegen_lsp.engine.http.access import Access
from codegen_lsp.engine.http.app import EngineApp
from codegen_lsp.engine.http.connections import (
    LimitedProtocol,
    LoadingProtocol,
    QuietAccepts,
    raise_open_files,
)
from codegen_lsp.engine.http.listeners import Address, tcp_listener, token_file, unix_listener
from codegen_lsp.engine.http.team.audit import AuditLog
from codegen_lsp.engine.scheduling.metrics import Metrics
from codegen_lsp.engine.scheduling.worker import Worker
from codegen_lsp.escaping import escape
from codegen_lsp.wire.config import ConfigError, EngineConfig

log = logging.getLogger(__name__)

ERROR_SECONDS = 60.0
"""Seconds without requests after which an engine that failed to load its model ends."""

ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Threads that wait for each other spin for milliseconds by default. While other processes such as an editor or a
    # compiler use the processor too, each spins for a thread that is not running: a step took eight times as long.
    "GOMP_SPINCOUNT": "10000",
    # numpy's threads: the engine computes nothing in numpy, and a keeper must have no threads when it forks.
    "OPENBLAS_NUM_THREADS": "1",
    # oneDNN keeps the code that it compiles for each number of tokens: by default 1,024 of them, up to a megabyte each.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
}
"""Environment in which the libraries make no calls home; set before torch is imported, unless the user has set it."""


def check_address(address: Address) -> None:
    """Require a token for an address that other machines can reach.

    Raises:
        ConfigError: the address is not a loopback address, and there is no token.
    """
    if not address.is_loopback and not address.token and not address.users_file:
        raise ConfigError(
            f"{address.host} can be reached by other machines, so it needs a token: pass --token or set "
            "CODEGEN_LSP_TOKEN"
        )


def check_certificate(address: Address) -> None:
    """Find out whether the files for TLS can be used, before the model is loaded.

    Raises:
        ConfigError: they can't.
    """
    if address.certificate is None:
        if address.key is not None:
            raise ConfigError("--tls-key requires --tls-cert")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(address.certificate, address.key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError.
        raise ConfigError(f"the certificate {address.certificate} can't be used: {error}") from error


@dataclass(frozen=True)
class Operation:
    """How an engine is operated for a team."""

    drain: float = 2.0
    """Seconds that running requests get to end after SIGTERM or `/shutdown`."""
    audit_log: Path | None = None


def run(
    config: EngineConfig,
    address: Address,
    idle_timeout: float = 900.0,
    operation: Operation | None = None,
) -> None:
    """Serve until the engine was idle for `idle_timeout` seconds (0: for ever), is told to stop, or gets SIGTERM.

    Raises:
        AlreadyRunning: another engine serves this socket.
        ConfigError: the engine can't listen on the address, or one of the files can't be used.
        CheckpointError: the name of the model is unknown.
    """
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    check_address(address)
    check_certificate(address)
    checkpoint = locate.resolve(config.model, config.revision)
    raise_open_files()
    code = 0
    with contextlib.ExitStack() as stack:
        address, listener, location = _listen(address, stack)
        print(escape(f"serving {checkpoint.name} on {location}"), flush=True)  # noqa: T201
        engine = _Engine(config, checkpoint, address, listener, idle_timeout, operation or Operation())
        if address.path is not None and keeper.is_possible():
            code = keeper.Keeper(engine.answer, engine.serve).run()
        elif not engine.serve():
            # A load that can't be interrupted: remove the socket and the lock, and end with the thread running.
            stack.close()
            logging.shutdown()
            os._exit(0)
    if code < 0:
        _end_by_signal(-code)
    if code:
        raise SystemExit(code)


def _end_by_signal(number: int) -> None:
    """End as the engine did, so that the exit code says which signal it was."""
    logging.shutdown()
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _listen(address: Address, stack: contextlib.ExitStack) -> tuple[Address, socket.socket, str]:
    """Return the address with its token, the listening socket, and the location to print."""
    if address.path is not None:
        return address, stack.enter_context(unix_listener(address.path)), f"unix:{address.path}"
    listener = stack.enter_context(tcp_listener(address))
    port = listener.getsockname()[1]
    location = f"{'https' if address.certificate else 'http'}://{address.host}:{port}"
    if address.token is None and not address.users_file:
        address = replace(address, token=secrets.token_urlsafe(24))
        file = stack.enter_context(token_file(port, address.token or ""))
        location += f" (token in {file})"
    return address, listener, location


@dataclass(frozen=True)
class _Engine:
    """What one engine process does, until it is idle, told to stop, or gets SIGTERM."""

    config: EngineConfig
    checkpoint: Checkpoint
    address: Address
    listener: socket.socket
    idle_timeout: float
    operation: Operation

    def serve(self) -> bool:
        """Load the model and serve it; return whether the model's thread has ended too."""
        worker, server = self._server(leaves=True)
        worker.start()
        server.run(self.listener)
        return worker.close()

    def answer(self) -> None:
        """Answer that the model is loading."""
        _, server = self._server(leaves=False)
        server.run(self.listener)

    def _server(self, *, leaves: bool) -> tuple[Worker, _Server]:
        worker = Worker(self.config, self.checkpoint, Metrics())
        return worker, _Server(worker, self.idle_timeout, self.address, self.operation, leaves=leaves)


class _Uvicorn(uvicorn.Server):
    """uvicorn, which refuses connections from the beginning of its shutdown, if the engine ends with it.

    The keeper's copy of the listening socket would take them, and no process would answer.
    """

    def __init__(self, options: uvicorn.Config, *, leaves: bool) -> None:
        super().__init__(options)
        self._leaves = leaves

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse connections, then wait for the answers that are being sent."""
        for listener in sockets or ():
            if self._leaves and listener.family == socket.AF_UNIX:
                listener.shutdown(socket.SHUT_RD)
        await super().shutdown(sockets)


class _Server:
    """uvicorn, which also ends when the engine is idle or told to stop."""

    def __init__(
        self, worker: Worker, idle_timeout: float, address: Address, operation: Operation, *, leaves: bool
    ) -> None:
        self.worker = worker
        self.idle_timeout = idle_timeout
        audit = AuditLog(operation.audit_log) if operation.audit_log else None
        self.engine = EngineApp(worker, self._stop, Access(address), audit)
        options = uvicorn.Config(
            self.engine.app,
            http=LimitedProtocol if leaves else LoadingProtocol,
            headers=[] if leaves else [("connection", "close")],
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(operation.drain),
            timeout_keep_alive=75,
            ssl_certfile=address.certificate,
            ssl_keyfile=address.key,
        )
        self.uvicorn = _Uvicorn(options, leaves=leaves)

    def run(self, listener: socket.socket) -> None:
        # uvicorn stops at a signal, then raises it again for the previous handler: one that does nothing, so that
        # the socket and the lock are removed.
        previous = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            asyncio.run(self._serve(listener))
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    async def _serve(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().set_exception_handler(QuietAccepts())
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
                log.info("the engine was idle for %.0f s: it ends", idle)
                self._stop()
