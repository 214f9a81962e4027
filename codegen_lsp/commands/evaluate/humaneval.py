"""`codegen-lsp eval humaneval`: write 164 functions from their docstrings."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from codegen_lsp.commands.evaluate.bench import (
    Bench,
    BenchOptions,
    Canonical,
    Problems,
    Seconds,
    TopP,
    judge_canonical,
)
from codegen_lsp.commands.options import EngineChoice, Seed, with_options


@with_options
def humaneval(
    engine: EngineChoice,
    options: BenchOptions,
    samples: Annotated[int, typer.Option(help="Samples for each problem and temperature.", min=1)] = 20,
    temperature: Annotated[
        list[float] | None, typer.Option(help="May be repeated; 0.2, 0.6 and 0.8 by default.")
    ] = None,
    top_p: TopP = 0.95,
    max_tokens: Annotated[int, typer.Option(help="Maximum number of tokens in a completion.", min=1)] = 300,
    seconds: Seconds = 3.0,
    seed: Seed = 0,
    problems: Problems = 0,
    canonical: Canonical = False,
) -> None:
    """HumanEval: write 164 functions from their docstrings; pass@1, 10 and 100."""
    from codegen_lsp.evals.benchmarks import humaneval as benchmark
    from codegen_lsp.evals.sandbox.sandbox import Limits

    settings = benchmark.HumanEvalSettings(
        samples=samples,
        temperatures=tuple(temperature or benchmark.HumanEvalSettings.temperatures),
        top_p=top_p,
        max_tokens=max_tokens,
        seed=seed,
        seconds=seconds,
        problems=problems,
    )
    tasks = benchmark.read_problems(problems)
    sandbox = options.sandbox(Limits(seconds=seconds))
    if canonical:
        judge_canonical([t.program(t.canonical_solution) for t in tasks], sandbox, options.workers)
        return

    async def evaluate(bench: Bench) -> dict[str, Any]:
        counts = await benchmark.evaluate(
            bench.client, bench.judges, bench.folder, settings, tasks, bench.progress
        )
        return benchmark.write_report(bench.folder, counts, bench.about)

    options.run("humaneval", engine, evaluate, benchmark.settings_of(settings), sandbox)
