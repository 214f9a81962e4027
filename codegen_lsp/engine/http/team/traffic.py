"""Measure the requests: their routes, statuses, sizes and times, for `/metrics` and the audit log."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import Message, Receive, Scope, Send

from codegen_lsp import __version__
from codegen_lsp.engine.decode.progress import DecodeProgress
from codegen_lsp.engine.http.team.audit import AuditLog

ROUTES = frozenset(
    {
        "/v1/completions",
        "/v1/fim/completions",
        "/infill",
        "/v1/embeddings",
        "/v1/models",
        "/health",
        "/ready",
        "/metrics",
        "/unload",
        "/shutdown",
    }
)
"""The values of the label `route`; all other paths are `other`."""
USES = ("/v1/", "/infill")
"""Beginnings of the paths that use the model."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram of times."""


def replica_name() -> str:
    """Return the name of this engine among those of a cluster: `CODEGEN_LSP_REPLICA`, or machine and process."""
    return os.environ.get("CODEGEN_LSP_REPLICA") or f"{socket.gethostname()}-{os.getpid()}"


class Traffic:
    """The counters of the HTTP side, and its audit log."""

    def __init__(self, registry: CollectorRegistry, model: str, audit: AuditLog | None) -> None:
        self._audit = audit
        self._requests = Counter(
            "codegen_http_requests_total",
            "Requests, by route and status.",
            ["route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "codegen_http_request_seconds",
            "Time until the last byte of the answer, by route.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        info = Gauge(
            "codegen_engine_info",
            "1; the labels name the engine.",
            ["replica", "model", "version"],
            registry=registry,
        )
        info.labels(replica_name(), model, __version__).set(1)

    def begin(self, scope: Scope) -> Exchange:
        """Return the measurement of a request that begins now."""
        return Exchange(self, scope)

    def count(self, exchange: Exchange, user: str) -> None:
        """Count a request that has ended."""
        route = exchange.route
        elapsed = time.perf_counter() - exchange.started
        self._requests.labels(route, exchange.status).inc()
        self._seconds.labels(route).observe(elapsed)
        if self._audit is not None and exchange.uses_model:
            self._audit.write(exchange.record(user, elapsed))


class Exchange:
    """One request and its answer, while they pass."""

    def __init__(self, traffic: Traffic, scope: Scope) -> None:
        path = scope["path"]
        self.route = path if path in ROUTES else "/v1/models" if path.startswith("/v1/models/") else "other"
        self.uses_model = path.startswith(USES)
        self.started = time.perf_counter()
        self.status = 0
        """0 if the client left before there was an answer."""
        self._traffic = traffic
        self._scope = scope
        self._received = self._sent = 0

    def counting(self, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """Return the two functions of a request, which count what passes."""

        async def counted_receive() -> Message:
            message = await receive()
            self._received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            self.status = message.get("status", self.status)
            self._sent += len(message.get("body", b""))
            await send(message)

        return counted_receive, counted_send

    def end(self, user: str) -> None:
        """Count the request."""
        self._traffic.count(self, user)

    def record(self, user: str, elapsed: float) -> dict[str, Any]:
        """Return the line of the audit log."""
        progress: DecodeProgress = self._scope.get("progress") or DecodeProgress()
        return {
            "user": user,
            "route": self.route,
            "status": self.status,
            "ms": round(elapsed * 1000, 1),
            "request_bytes": self._received,
            "answer_bytes": self._sent,
            "prompt_tokens": progress.prompt_tokens,
            "cached_tokens": progress.cached_tokens,
            "completion_tokens": progress.completion_tokens,
        }
