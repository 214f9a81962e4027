"""How commands reach an engine: connect to the chosen one, embed texts, and end in order at Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from codegen_lsp.commands.options import EngineChoice
from codegen_lsp.commands.terminal import progress_bar, say
from codegen_lsp.wire.fill.formats import FillMode

if TYPE_CHECKING:
    from codegen_lsp.evals.harness.engine_process import Connected

T = TypeVar("T")


def connected(choice: EngineChoice, fill: FillMode = "auto") -> AbstractAsyncContextManager[Connected]:
    """Connect to the chosen engine; see `engine_process.connect`."""
    from codegen_lsp.evals.harness.engine_process import connect

    return connect(choice.model, choice.server, choice.token, fill)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the work to its end and return its result; at Ctrl-C, say how to continue and exit with code 130."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        message = "stopped; finished work is kept, and the same command goes on from there"
        say(message, file=sys.stderr)
        raise typer.Exit(130) from None


async def embed(
    texts: list[str], choice: EngineChoice, options: dict[str, Any]
) -> tuple[list[list[float]], str]:
    """Return a vector for each text, and the name of the model."""
    from codegen_lsp.evals.benchmarks import features

    async with connected(choice) as connection:
        # Other servers know OpenAI's fields only, and pool in their own way.
        supported = options if connection.engine.extensions else {}
        with progress_bar("embedded") as progress:
            vectors = await features.embed(connection.engine, texts, progress, **supported)
        return vectors, connection.info.id
