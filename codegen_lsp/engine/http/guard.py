"""Check who may use the engine, and note when it is used."""

from __future__ import annotations

import hmac
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from codegen_lsp.wire.errors import UnauthorizedError


class Activity:
    """The time of the last use of the engine; health checks and metrics do not count."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.open = 0

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last use; 0 while a request is open."""
        return 0.0 if self.open else time.monotonic() - self.last


class Guard:
    """Middleware that requires the token on every route but /health."""

    def __init__(self, app: ASGIApp, activity: Activity, token: str | None) -> None:
        self.app = app
        self.activity = activity
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        headers = dict(scope["headers"])
        if path != "/health" and not self._authorized(headers.get(b"authorization", b"").decode("latin-1")):
            error = UnauthorizedError("the bearer token is missing or wrong")
            await JSONResponse(error.to_json(), error.status)(scope, receive, send)
            return
        if not path.startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        self.activity.open += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.activity.open -= 1
            self.activity.last = time.monotonic()

    def _authorized(self, header: str) -> bool:
        """Return whether an `Authorization` header holds the token."""
        if self.token is None:
            return True
        kind, _, given = header.partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token.encode())
