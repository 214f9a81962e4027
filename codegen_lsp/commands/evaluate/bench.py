"""What the `eval` commands share: their common options, the bench an evaluation works on, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codegen_lsp import __version__
from codegen_lsp.commands.engines import connected, run
from codegen_lsp.commands.options import EngineChoice
from codegen_lsp.commands.terminal import progress_bar, say, say_json
from codegen_lsp.wire.fill.formats import FillMode

if TYPE_CHECKING:
    from codegen_lsp.evals.harness.engine_process import Connected
    from codegen_lsp.evals.harness.judging import Judges
    from codegen_lsp.evals.harness.records import Folder
    from codegen_lsp.evals.harness.retrying_client import ReportProgress, RetryingClient
    from codegen_lsp.evals.sandbox.sandbox import Limits, Sandbox

Problems = Annotated[int, typer.Option(help="Number of problems, from the first; 0 for all.", min=0)]
TopP = Annotated[float, typer.Option(help="Nucleus sampling.", min=0.01, max=1)]
Seconds = Annotated[float, typer.Option(help="Time limit of one program.", min=0.1)]
Canonical = Annotated[
    bool, typer.Option("--canonical", help="Judge the reference's solutions, as a check; needs no engine.")
]
Out = Annotated[
    Path | None, typer.Option(help="Folder for finished work and the report; eval-NAME by default.")
]
ReportAsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


@dataclass(frozen=True)
class Bench:
    """All that an evaluation of generated programs works with."""

    connected: Connected
    client: RetryingClient
    judges: Judges
    folder: Folder
    progress: ReportProgress
    about: Mapping[str, Any]
    """For the report: model, server, settings, and the walls around the programs."""


Evaluate = Callable[[Bench], Coroutine[Any, Any, dict[str, Any]]]


@dataclass(frozen=True)
class BenchOptions:
    """Options of every evaluation that runs generated programs."""

    out: Out = None
    workers: Annotated[
        int, typer.Option(help="Programs judged at once; 0 for half of the processors.", min=0, max=64)
    ] = 0
    at_once: Annotated[int, typer.Option(help="Concurrent requests.", min=1, max=256)] = 1
    unsafe: Annotated[
        bool,
        typer.Option("--unsafe", help="Run generated code even if only Python's audit hooks confine it."),
    ] = False
    as_json: ReportAsJson = False

    def sandbox(self, limits: Limits, *, packages: bool = False) -> Sandbox:
        """Return the sandbox for generated programs."""
        from codegen_lsp.evals.sandbox.sandbox import Sandbox

        return Sandbox(limits, unsafe=self.unsafe, packages=packages)

    def run(
        self,
        name: str,
        engine: EngineChoice,
        evaluate: Evaluate,
        settings: dict[str, Any],
        sandbox: Sandbox,
        fill: FillMode = "auto",
    ) -> None:
        """Evaluate, and print the report."""
        out = self.out or Path(f"eval-{name}")

        async def whole() -> dict[str, Any]:
            async with self._bench(out, engine, settings, sandbox, fill) as bench:
                return await evaluate(bench)

        finish(run(whole()), out, self.as_json)

    @asynccontextmanager
    async def _bench(
        self, out: Path, choice: EngineChoice, settings: dict[str, Any], sandbox: Sandbox, fill: FillMode
    ) -> AsyncIterator[Bench]:
        from codegen_lsp.evals.harness.judging import Judges
        from codegen_lsp.evals.harness.records import Folder
        from codegen_lsp.evals.harness.retrying_client import RetryingClient

        async with connected(choice, fill) as engine:
            name = engine.info.id
            about = {
                "model": name,
                "server": engine.address,
                "version": __version__,
                "settings": settings,
                "walls": {"level": sandbox.walls.level, "protection": sandbox.walls.describe()},
            }
            with (
                Folder(out, {"model": name, **settings}) as folder,
                Judges(sandbox, self.workers) as judges,
                progress_bar("judged") as progress,
            ):
                client = RetryingClient(engine.engine, model=name, at_once=self.at_once)
                yield Bench(engine, client, judges, folder, progress, about)


def judge_canonical(programs: list[str], sandbox: Sandbox, workers: int) -> None:
    """Judge solutions that must pass, say how many do, and exit with code 1 if one fails."""
    from codegen_lsp.evals.harness.judging import Judges
    from codegen_lsp.evals.harness.retrying_client import together

    async def work() -> list[str]:
        verdicts: list[str] = []
        with Judges(sandbox, workers) as judges, progress_bar("judged") as progress:

            async def judge(program: str) -> None:
                verdicts.append((await judges.run(program)).verdict())
                progress(len(verdicts), len(programs))

            await together(judge(program) for program in programs)
        return verdicts

    verdicts = run(work())
    passed = verdicts.count("passed")
    say(f"{passed} of {len(programs)} reference solutions pass, behind {sandbox.walls.level}")
    for verdict in verdicts:
        if verdict != "passed":
            say(f"  {verdict}")
    if passed < len(programs):
        raise typer.Exit(1)


def finish(data: dict[str, Any], out: Path, as_json: bool) -> None:
    """Print a finished report and where it lies."""
    if as_json:
        say_json(data, indent=2)
        return
    page = (out / "report.md").read_text(encoding="utf-8")
    say(page.split("\n![")[0].rstrip())
    files = [name for name in ("report.md", "report.json", "report.png") if (out / name).exists()]
    say(f"\nThe report is in {out}: {', '.join(files)}")
