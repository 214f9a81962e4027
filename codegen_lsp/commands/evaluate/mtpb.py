"""`codegen-lsp eval mtpb`: write programs that are specified in several steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from codegen_lsp.commands.evaluate.bench import Bench, BenchOptions, Problems, Seconds, TopP
from codegen_lsp.commands.options import EngineChoice, Seed, with_options


@with_options
def mtpb(
    data: Annotated[Path, typer.Option(help="The benchmark's mtpb.jsonl.")],
    engine: EngineChoice,
    options: BenchOptions,
    samples: Annotated[int, typer.Option(help="Samples for each case.", min=1)] = 40,
    cases: Annotated[int, typer.Option(help="Number of cases of each problem; 0 for all five.", min=0)] = 0,
    turns: Annotated[
        str, typer.Option(help="multi (one turn for each step) or single (all steps at once).")
    ] = "multi",
    judge: Annotated[
        str, typer.Option(help="The judge to report first: faithful (the reference's) or repaired.")
    ] = "faithful",
    temperature: Annotated[float, typer.Option(help="Sampling temperature.", min=0, max=2)] = 0.2,
    top_p: TopP = 0.95,
    seconds: Seconds = 20.0,
    seed: Seed = 0,
    problems: Problems = 0,
) -> None:
    """Evaluate on the Multi-Turn Programming Benchmark: 115 programs, each specified in several steps."""
    from codegen_lsp.evals.benchmarks import mtpb as benchmark

    settings = benchmark.MtpbSettings(
        samples=samples,
        turns=benchmark.turns_named(turns),
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        seconds=seconds,
        problems=problems,
        cases=cases,
    )
    first_judge = benchmark.judge_named(judge)
    chosen = benchmark.read_cases(data, problems, cases)
    sandbox = options.sandbox(benchmark.LIMITS, packages=True)

    async def evaluate(bench: Bench) -> dict[str, Any]:
        verdicts = await benchmark.evaluate(
            bench.client, bench.judges, bench.folder, settings, chosen, bench.progress
        )
        return benchmark.write_report(bench.folder, verdicts, chosen, bench.about, first_judge)

    options.run("mtpb", engine, evaluate, benchmark.settings_of(settings, data), sandbox)
