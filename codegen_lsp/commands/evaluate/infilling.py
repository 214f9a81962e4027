"""`codegen-lsp eval infilling`: fill in one line of a function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from codegen_lsp.commands.evaluate.bench import Bench, BenchOptions, Canonical, Seconds, judge_canonical
from codegen_lsp.commands.options import EngineChoice, with_options
from codegen_lsp.wire.fill.formats import FillMode


@with_options
def infilling(
    data: Annotated[
        Path,
        typer.Option(
            help="HumanEval-SingleLineInfilling.jsonl (or .gz), or a set of several lines or spans like it."
        ),
    ],
    engine: EngineChoice,
    options: BenchOptions,
    rows: Annotated[int, typer.Option(help="The language server's option `candidates`.", min=1, max=8)] = 3,
    max_tokens: Annotated[int, typer.Option(help="Maximum number of tokens in a line.", min=1)] = 64,
    seconds: Seconds = 3.0,
    fill_in_the_middle: Annotated[
        FillMode, typer.Option(help="Give this machine's model the text after the cursor.", show_choices=True)
    ] = "auto",
    tasks: Annotated[int, typer.Option(help="Number of tasks, evenly spread; 0 for all.", min=0)] = 0,
    canonical: Canonical = False,
) -> None:
    """Fill in one line, with the language server's whole pipeline and with the model alone."""
    from codegen_lsp.evals.benchmarks import infilling as benchmark
    from codegen_lsp.evals.sandbox.sandbox import Limits

    settings = benchmark.InfillingSettings(rows=rows, max_tokens=max_tokens, seconds=seconds, tasks=tasks)
    chosen = benchmark.read_tasks(data, tasks)
    sandbox = options.sandbox(Limits(seconds=seconds))
    if canonical:
        judge_canonical([t.program(t.solution) for t in chosen], sandbox, options.workers)
        return

    async def evaluate(bench: Bench) -> dict[str, Any]:
        filler = benchmark.Filler(bench.client, bench.connected.engine, bench.connected.info, settings)
        try:
            records = await benchmark.evaluate(filler, bench.judges, bench.folder, chosen, bench.progress)
        finally:
            await filler.aclose()
        return benchmark.write_report(bench.folder, records, chosen, bench.about)

    stored = benchmark.settings_of(settings, data) | {"fill_in_the_middle": fill_in_the_middle}
    options.run("infilling", engine, evaluate, stored, sandbox, fill_in_the_middle)
