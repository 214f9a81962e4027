"""The engine that an evaluation asks: a server by its URL, or this machine's own, started if none runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codegen_lsp.evals.harness.records import EvaluationError
from codegen_lsp.lsp.engines.process import EngineProcess
from codegen_lsp.wire.config import EngineConfig, expanded
from codegen_lsp.wire.fill.formats import FillMode

if TYPE_CHECKING:
    from codegen_lsp.wire.answers import ModelInfo
    from codegen_lsp.wire.client import HttpEngineClient

ANSWER_SECONDS = 600.0
"""Time limit of one answer: a batch of long samples from a large model on a processor takes minutes."""
START_SECONDS = 60.0
"""Time limit for a new engine to listen; it loads its model after that."""


@dataclass(frozen=True)
class Connected:
    """A client of an engine, and what the engine said about its model."""

    engine: HttpEngineClient
    info: ModelInfo
    address: str
    """The URL, or `local`; for reports."""


@asynccontextmanager
async def connect(
    model: str, server: str | None = None, token: str | None = None, fill: FillMode = "auto"
) -> AsyncIterator[Connected]:
    """Connect to the engine at `server`, or to this machine's engine for `model`, starting it if none runs.

    `fill` is how this machine's engine asks a model that fills in the middle.

    Raises:
        EvaluationError: the local engine did not start or could not load the model, or the server has no such model.
        WireError: the server can't be reached or refuses the token.
    """
    from codegen_lsp.wire.client import HttpEngineClient

    if server:
        engine = HttpEngineClient(
            url=server.rstrip("/").removesuffix("/v1"), token=token or "", timeout=ANSWER_SECONDS
        )
    else:
        process = EngineProcess(EngineConfig(model=absolute(model), fill_in_the_middle=fill))
        engine = HttpEngineClient(socket=process.socket, timeout=ANSWER_SECONDS)
    try:
        if not server:
            await _wait_until_ready(engine, process)
        info = _choose(await engine.models(), model if server else None)
        engine.extensions = bool(info.extensions)
        yield Connected(engine, info, server or "local")
    finally:
        await engine.aclose()


def absolute(model: str) -> str:
    """Return the absolute path of a model's folder, or its name: the engine runs in another folder."""
    folder = expanded(model)
    return str(folder.resolve()) if folder.is_dir() else model


def _choose(models: tuple[ModelInfo, ...], wanted: str | None) -> ModelInfo:
    if not models:
        raise EvaluationError("the server lists no model at /v1/models; is it a completions server?")
    choice = next((m for m in models if m.id == wanted), None)
    # `--model` has a default, for the local engine; a server with one model needs no name.
    if choice is None and len(models) > 1:
        names = ", ".join(m.id for m in models)
        raise EvaluationError(f"the server has no model {wanted!r}; choose with --model one of: {names}")
    return choice or models[0]


async def _wait_until_ready(engine: HttpEngineClient, process: EngineProcess) -> None:
    from codegen_lsp.wire.errors import TransportError

    started = False
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            health = await engine.health()
        except TransportError:
            if not started:
                # Every user of this configuration shares the engine; it leaves by itself when it is idle.
                process.start()
                started = True
            elif process.take_exit_code() not in (None, 0) or time.monotonic() > deadline:
                raise EvaluationError(
                    f"the engine did not start; {process.log} says why, and `codegen-lsp doctor` may too"
                ) from None
        else:
            if health.state in ("ready", "unloaded"):
                process.release()
                return
            if health.state == "error":
                raise EvaluationError(health.message or "the engine could not load its model")
            deadline = time.monotonic() + START_SECONDS
        await asyncio.sleep(0.1)
