"""A replica of Ray Serve that is one engine: the same routes as `codegen-lsp serve`, in the replica's own process.

Ray Serve starts replicas, watches them, routes requests to them and replaces those that die; nothing of that is done
here. Imported by Ray Serve by the name in the configuration (`import_path`), never by other modules.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from codegen_lsp.cluster.serve_config import DEPLOYMENT
from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.http.access import Access
from codegen_lsp.engine.http.app import EngineApp
from codegen_lsp.engine.http.listeners import Address
from codegen_lsp.engine.http.serve import ENVIRONMENT
from codegen_lsp.engine.scheduling.metrics import Metrics
from codegen_lsp.engine.scheduling.worker import Worker
from codegen_lsp.wire.config import EngineConfig
from codegen_lsp.wire.errors import UnavailableError

LOADING_SECONDS = 0.05
"""Seconds between two looks at a model that is loading."""


class ForwardedResponse(Response):
    """A response that another ASGI application writes, as it comes: streams stay streams, cancellation arrives."""

    def __init__(self, app: ASGIApp) -> None:
        """Let `app` answer the request for which this is returned."""
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the application."""
        await self._app(scope, receive, send)


class EngineReplica:
    """One engine, ready when its model is loaded."""

    # Ray Serve awaits it, and takes the replica for started when it returns.
    async def __init__(self, engine: Mapping[str, Any], host: str, token_file: str | None) -> None:  # type: ignore[misc]
        """Start the engine; `host` is where the proxies listen, which decides whom the engine trusts.

        Raises:
            CheckpointError: the name of the model is unknown.
            ConfigError: the configuration has an error, or the tokens can't be read.
            UnavailableError: the model can't be loaded.
        """
        os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
        config = EngineConfig(**engine)
        self.worker = Worker(config, locate.resolve(config.model, config.revision), Metrics())
        address = Address(host=host, users_file=Path(token_file) if token_file else None)
        self.app = EngineApp(self.worker, lambda: None, Access(address)).app
        self.worker.start()
        while self.worker.health.state == "loading":  # noqa: ASYNC110 the engine's thread knows no event loop
            await asyncio.sleep(LOADING_SECONDS)
        await self.check_health()

    async def __call__(self, _: Request) -> Response:
        """Answer one request with the engine's routes."""
        return ForwardedResponse(self.app)

    async def check_health(self) -> None:
        """Check that the engine can answer; Ray Serve replaces a replica that can't.

        Raises:
            UnavailableError: the engine has failed.
        """
        if self.worker.health.state == "error":
            raise UnavailableError(self.worker.health.message)

    def __del__(self) -> None:
        """End the engine's thread, after Ray Serve has let its requests finish."""
        self.worker.close()


def build(arguments: dict[str, Any]) -> serve.Application:
    """Return the application that Ray Serve deploys, from the `args` of its configuration."""
    deployment: Any = serve.deployment(EngineReplica, name=DEPLOYMENT)
    application: serve.Application = deployment.bind(
        arguments["engine"], arguments["host"], arguments.get("token_file")
    )
    return application
