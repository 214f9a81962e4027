"""The commands `eval humaneval`, `mtpb`, `infilling` and `replay`.

Knows flags, where results go, and what is printed at the end. Imports nothing heavy before it has to.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codegen_lsp import __version__
from codegen_lsp.evals.harness.command_options import ModelName, Server, TokenOption, bar, connected, run

if TYPE_CHECKING:
    from codegen_lsp.evals.harness.engine_process import Connected
    from codegen_lsp.evals.harness.judging import Judges
    from codegen_lsp.evals.harness.records import Folder
    from codegen_lsp.evals.harness.retrying_client import ReportProgress, RetryingClient
    from codegen_lsp.evals.sandbox.sandbox import Sandbox

Seed = Annotated[int, typer.Option(help="The same seed draws the same samples.")]
Problems = Annotated[int, typer.Option(help="Only so many problems, from the first; 0 for all.", min=0)]
TopP = Annotated[float, typer.Option(help="Nucleus sampling.", min=0.01, max=1)]
Seconds = Annotated[float, typer.Option(help="Time limit of one program.", min=0.1)]
Workers = Annotated[
    int, typer.Option(help="Programs judged at once; 0: half of the processors.", min=0, max=64)
]
AtOnce = Annotated[int, typer.Option(help="Requests under way at once.", min=1, max=256)]
Unsafe = Annotated[
    bool, typer.Option("--unsafe", help="Run generated code also where nothing but Python protects from it.")
]
Canonical = Annotated[
    bool, typer.Option("--canonical", help="Judge the reference's solutions, as a check; asks no engine.")
]
Out = Annotated[Path, typer.Option(help="Folder for what is finished, and for the report.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


def eval_humaneval(
    out: Out = Path("eval-humaneval"),
    model: ModelName = "nano",
    server: Server = None,
    token: TokenOption = None,
    samples: Annotated[int, typer.Option(help="Samples a problem and temperature.", min=1)] = 20,
    temperature: Annotated[
        list[float] | None, typer.Option(help="Repeat for several; 0.2, 0.6 and 0.8 without it.")
    ] = None,
    top_p: TopP = 0.95,
    max_tokens: Annotated[int, typer.Option(help="Tokens of a completion at most.", min=1)] = 300,
    seconds: Seconds = 3.0,
    seed: Seed = 0,
    problems: Problems = 0,
    workers: Workers = 0,
    at_once: AtOnce = 1,
    unsafe: Unsafe = False,
    canonical: Canonical = False,
    as_json: Json = False,
) -> None:
    """HumanEval: write 164 functions from their docstrings; pass@1, 10 and 100."""
    from codegen_lsp.evals.benchmarks import humaneval
    from codegen_lsp.evals.sandbox.sandbox import Limits, Sandbox

    settings = humaneval.HumanEvalSettings(
        samples=samples,
        temperatures=tuple(temperature or humaneval.HumanEvalSettings.temperatures),
        top_p=top_p,
        max_tokens=max_tokens,
        seed=seed,
        seconds=seconds,
        problems=problems,
    )
    tasks = humaneval.read_problems(problems)
    sandbox = Sandbox(Limits(seconds=seconds), unsafe=unsafe)
    if canonical:
        _canonical([t.program(t.canonical_solution) for t in tasks], sandbox, workers)
        return

    async def work(bench: Bench) -> dict[str, Any]:
        counts = await humaneval.evaluate(
            bench.asker, bench.judges, bench.folder, settings, tasks, bench.progress
        )
        return humaneval.write_report(bench.folder, counts, bench.about)

    command = Command(out, model, server, token, workers, at_once, as_json)
    command.run(work, humaneval.settings_of(settings), sandbox)


def eval_mtpb(
    data: Annotated[Path, typer.Option(help="The benchmark's mtpb.jsonl.")],
    out: Out = Path("eval-mtpb"),
    model: ModelName = "nano",
    server: Server = None,
    token: TokenOption = None,
    samples: Annotated[int, typer.Option(help="Samples a case.", min=1)] = 40,
    cases: Annotated[int, typer.Option(help="Only so many of a problem's five cases; 0 for all.", min=0)] = 0,
    turns: Annotated[
        str, typer.Option(help="multi (a turn a step) or single (all steps at once).")
    ] = "multi",
    judge: Annotated[
        str, typer.Option(help="Whose figures lead: faithful (the reference's) or repaired (dicts, None).")
    ] = "faithful",
    temperature: Annotated[float, typer.Option(help="Sampling temperature.", min=0, max=2)] = 0.2,
    top_p: TopP = 0.95,
    seconds: Seconds = 20.0,
    seed: Seed = 0,
    problems: Problems = 0,
    workers: Workers = 0,
    at_once: AtOnce = 1,
    unsafe: Unsafe = False,
    as_json: Json = False,
) -> None:
    """The Multi-Turn Programming Benchmark: 115 programs, each specified in several steps."""
    from codegen_lsp.evals.benchmarks import mtpb
    from codegen_lsp.evals.harness.records import EvaluationError
    from codegen_lsp.evals.sandbox.sandbox import Sandbox

    if judge not in ("faithful", "repaired"):
        raise EvaluationError(f"judge {judge!r} is neither faithful nor repaired")
    settings = mtpb.MtpbSettings(
        samples=samples,
        turns=turns,  # type: ignore[arg-type]  # Settings refuses any other word
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        seconds=seconds,
        problems=problems,
        cases=cases,
    )
    chosen = mtpb.read_cases(data, problems, cases)
    sandbox = Sandbox(mtpb.LIMITS, unsafe=unsafe, packages=True)

    async def work(bench: Bench) -> dict[str, Any]:
        verdicts = await mtpb.evaluate(
            bench.asker, bench.judges, bench.folder, settings, chosen, bench.progress
        )
        return mtpb.write_report(bench.folder, verdicts, chosen, bench.about, judge)  # type: ignore[arg-type]

    command = Command(out, model, server, token, workers, at_once, as_json)
    command.run(work, mtpb.settings_of(settings, data), sandbox)


def eval_infilling(
    data: Annotated[Path, typer.Option(help="HumanEval-SingleLineInfilling.jsonl, or .jsonl.gz.")],
    out: Out = Path("eval-infilling"),
    model: ModelName = "nano",
    server: Server = None,
    token: TokenOption = None,
    rows: Annotated[int, typer.Option(help="The server's option `candidates`.", min=1, max=8)] = 3,
    max_tokens: Annotated[int, typer.Option(help="Tokens of a line at most.", min=1)] = 64,
    seconds: Seconds = 3.0,
    tasks: Annotated[int, typer.Option(help="Only so many tasks, evenly spread; 0 for all.", min=0)] = 0,
    workers: Workers = 0,
    at_once: AtOnce = 1,
    unsafe: Unsafe = False,
    canonical: Canonical = False,
    as_json: Json = False,
) -> None:
    """Fill in one line, by the language server's prompt, filters and ranking, and by the raw model."""
    from codegen_lsp.evals.benchmarks import infilling
    from codegen_lsp.evals.sandbox.sandbox import Limits, Sandbox

    settings = infilling.InfillingSettings(rows=rows, max_tokens=max_tokens, seconds=seconds, tasks=tasks)
    chosen = infilling.read_tasks(data, tasks)
    sandbox = Sandbox(Limits(seconds=seconds), unsafe=unsafe)
    if canonical:
        _canonical([t.program(t.line.rstrip("\n")) for t in chosen], sandbox, workers)
        return

    async def work(bench: Bench) -> dict[str, Any]:
        info, engine = bench.connected.info, bench.connected.engine
        count, context = infilling.token_counter(info.tokenizer_file), info.max_model_len or 2048
        filler = infilling.Filler(bench.asker, engine, settings, count, context)
        records = await infilling.evaluate(filler, bench.judges, bench.folder, chosen, bench.progress)
        return infilling.write_report(bench.folder, records, chosen, bench.about)

    command = Command(out, model, server, token, workers, at_once, as_json)
    command.run(work, infilling.settings_of(settings, data), sandbox)


def eval_replay(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of source files.")],
    out: Out = Path("eval-replay"),
    model: ModelName = "nano",
    server: Server = None,
    token: TokenOption = None,
    characters: Annotated[int, typer.Option(help="Characters typed in each file, about.", min=20)] = 400,
    gaps: Annotated[int, typer.Option(help="Places in each file where they are typed.", min=1)] = 3,
    pace: Annotated[
        float,
        typer.Option(help="0 waits for every answer; 1 types as fast as a person; 2 half as fast.", min=0),
    ] = 0.0,
    files: Annotated[int, typer.Option(help="Only so many files, from the first; 0 for all.", min=0)] = 0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Type real files through the real language server: keystrokes saved, latencies, cache hits."""
    from codegen_lsp.evals.benchmarks import replay
    from codegen_lsp.evals.harness.engine_process import absolute
    from codegen_lsp.evals.harness.records import Folder

    settings = replay.ReplaySettings(characters=characters, gaps=gaps, pace=pace, seed=seed)
    chosen = [path.absolute() for path in replay.find_files(paths)][: files or None]
    named: dict[str, Any] = {"model": absolute(model), "server": server, "token": token}
    options = {k: v for k, v in named.items() if v is not None}
    settings_now = replay.settings_of(settings)

    async def work() -> dict[str, Any]:
        with Folder(out, {"model": model, "server": server, **settings_now}) as folder, bar("files") as tell:
            tallies = await replay.evaluate(options, folder, settings, chosen, tell)
            about = {"model": model, "server": server or "local", "version": __version__}
            return replay.write_report(folder, tallies, about | {"settings": settings_now})

    _finish(run(work()), out, as_json)


@dataclass(frozen=True)
class Bench:
    """All that an evaluation of generated programs works with."""

    connected: Connected
    asker: RetryingClient
    judges: Judges
    folder: Folder
    progress: ReportProgress
    about: Mapping[str, Any]
    """For the report: model, server, settings, and the walls around the programs."""


@dataclass(frozen=True)
class Command:
    """The flags that evaluations of generated programs share."""

    out: Path
    model: str
    server: str | None
    token: str | None
    workers: int
    at_once: int
    as_json: bool

    def run(
        self,
        work: Callable[[Bench], Coroutine[Any, Any, dict[str, Any]]],
        settings: dict[str, Any],
        sandbox: Sandbox,
    ) -> None:
        """Do the work, and print its report."""

        async def whole() -> dict[str, Any]:
            async with self._bench(settings, sandbox) as bench:
                return await work(bench)

        _finish(run(whole()), self.out, self.as_json)

    @asynccontextmanager
    async def _bench(self, settings: dict[str, Any], sandbox: Sandbox) -> AsyncIterator[Bench]:
        from codegen_lsp.evals.harness.judging import Judges
        from codegen_lsp.evals.harness.records import Folder
        from codegen_lsp.evals.harness.retrying_client import RetryingClient

        async with connected(self.model, self.server, self.token) as engine:
            name = engine.info.id
            about = {
                "model": name,
                "server": engine.address,
                "version": __version__,
                "settings": settings,
                "walls": {"level": sandbox.walls.level, "protection": sandbox.walls.describe()},
            }
            with (
                Folder(self.out, {"model": name, **settings}) as folder,
                Judges(sandbox, self.workers) as judges,
                bar("judged") as progress,
            ):
                asker = RetryingClient(engine.engine, model=name, at_once=self.at_once)
                yield Bench(engine, asker, judges, folder, progress, about)


def _canonical(programs: list[str], sandbox: Sandbox, workers: int) -> None:
    """Judge solutions that must pass, say how many do, and leave with status 1 where one does not."""
    from codegen_lsp.evals.harness.judging import Judges
    from codegen_lsp.evals.harness.retrying_client import together

    async def work() -> list[str]:
        verdicts: list[str] = []
        with Judges(sandbox, workers) as judges, bar("judged") as progress:

            async def one(program: str) -> None:
                verdicts.append((await judges.run(program)).verdict())
                progress(len(verdicts), len(programs))

            await together(one(program) for program in programs)
        return verdicts

    verdicts = run(work())
    passed = verdicts.count("passed")
    typer.echo(f"{passed} of {len(programs)} reference solutions pass, behind {sandbox.walls.level}")
    for verdict in verdicts:
        if verdict != "passed":
            typer.echo(f"  {verdict}")
    if passed < len(programs):
        raise typer.Exit(1)


def _finish(data: dict[str, Any], out: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    page = (out / "report.md").read_text(encoding="utf-8")
    typer.echo(page.split("\n![")[0].rstrip())
    typer.echo(f"\nThe report is in {out}: report.md, report.json, report.png")
