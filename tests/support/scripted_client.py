"""Engines for the tests of evaluations: they answer from a function, and count what they were asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

from codegen_lsp.wire.answers import Choice, Completion, Usage
from codegen_lsp.wire.errors import InternalError
from codegen_lsp.wire.requests import CompletionRequest

Continue = Callable[[str, int, CompletionRequest], str]
"""Text for a prompt and a row's seed."""


class ScriptedClient:
    """Rows are a function of prompt and seed, as with a real engine."""

    extensions = True

    def __init__(self, write: Continue) -> None:
        self.write = write
        self.requests: list[CompletionRequest] = []
        self.errors: list[Exception] = []
        """Raised, one a request, before any answer."""
        self.lives = 1_000_000
        """Answers until it breaks for good."""

    async def complete(self, request: CompletionRequest) -> Completion:
        self.requests.append(request)
        if self.errors:
            raise self.errors.pop(0)
        self.lives -= 1
        if self.lives < 0:
            raise InternalError("the engine went away")
        choices = []
        for prompt in request.prompts:
            assert isinstance(prompt, str)
            for _ in range(request.n):
                text = self.write(prompt, (request.seed or 0) + len(choices), request)
                choices.append(Choice(len(choices), text, "stop"))
        return Completion("cmpl-1", "fake", 0, tuple(choices), Usage())

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Completion]:
        yield await self.complete(request)


async def report_after_stops(
    write: Continue, lives: int, run: Callable[[ScriptedClient], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    """Return the report of an evaluation that goes on after each end of its engine, which comes at least once."""
    stops = 0
    while True:
        engine = ScriptedClient(write)
        engine.lives = lives
        try:
            report = await run(engine)
        except InternalError:
            stops += 1
        else:
            assert stops >= 1
            return report


def about(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what a report says about an evaluation of a fake model."""
    return {"model": "fake", "settings": settings, "walls": {"level": "x", "protection": {"files": "y"}}}


def drawn_page(folder: Path) -> str:
    """Return the text of an evaluation's report, after checking that it has a picture."""
    assert (folder / "report.png").exists()
    return (folder / "report.md").read_text(encoding="utf-8")
