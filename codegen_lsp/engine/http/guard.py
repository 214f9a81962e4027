"""Refuse requests that are not allowed or beyond a limit, measure all, and note when the engine is used."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from codegen_lsp.engine.http.access import Access, Caller
from codegen_lsp.engine.http.responses import error_response
from codegen_lsp.engine.http.team.limits import UserLimits
from codegen_lsp.engine.http.team.traffic import USES, Traffic
from codegen_lsp.engine.http.team.users import User
from codegen_lsp.wire.errors import WireError


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

    def __init__(self, app: ASGIApp, activity: Activity, access: Access, traffic: Traffic) -> None:
        self.app = app
        self.activity = activity
        self.access = access
        self.traffic = traffic
        self.limits = UserLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on; measure it either way."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = self.traffic.begin(scope)
        try:
            await self._answer(scope, *exchange.counting(receive, send))
        finally:
            caller: Caller | None = scope.get("caller")
            exchange.end(caller.label if caller else "stranger")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        caller = self.access.caller(headers, scope["client"][0] if scope.get("client") else None)
        scope["caller"] = caller
        error = self.access.refusal(scope["path"], headers, caller)
        if error is not None:
            await error_response(error)(scope, receive, send)
        elif scope["path"].startswith(USES):
            await self._use(caller.user, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _use(self, user: User | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request that uses the model, if it is within the user's limits."""
        try:
            self.limits.enter(user)
        except WireError as error:
            await error_response(error)(scope, receive, send)
            return
        self.activity.open += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.limits.leave(user)
            self.activity.open -= 1
            self.activity.last = time.monotonic()
