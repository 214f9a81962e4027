"""Refuse requests that are not allowed, and note when the engine is used."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from codegen_lsp.engine.http.access import Access
from codegen_lsp.engine.http.responses import error_response


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
    """Middleware that applies the rules of `Access`; routes find the `Caller` in `scope["caller"]`."""

    def __init__(self, app: ASGIApp, activity: Activity, access: Access) -> None:
        self.app = app
        self.activity = activity
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        caller = self.access.caller(headers, scope["client"][0] if scope.get("client") else None)
        error = self.access.refusal(scope["path"], headers, caller)
        if error is not None:
            await error_response(error)(scope, receive, send)
            return
        scope["caller"] = caller
        if not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        self.activity.open += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.activity.open -= 1
            self.activity.last = time.monotonic()
