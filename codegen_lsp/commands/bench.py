"""`codegen-lsp bench`: the speed of our engine and of others on this machine, with the same weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from codegen_lsp.commands.evaluate.bench import Out, ReportAsJson, finish
from codegen_lsp.commands.options import ModelName, absolute
from codegen_lsp.commands.terminal import progress_bar

QUICK_ROUNDS = 2


def bench(
    model: ModelName = "nano",
    out: Out = None,
    tokens: Annotated[
        list[int] | None,
        typer.Option(help="Tokens before the steps that are timed; 256 and 1,024 by default."),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help='An engine that takes part, such as "codegen-lsp int8"; repeatable, all by default.'
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Number of times that each engine has its turn.", min=1)] = 7,
    threads: Annotated[
        int,
        typer.Option(
            help="Processor threads of every engine; 0 for what each engine takes by itself.", min=0
        ),
    ] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Two rounds instead of --rounds.")] = False,
    as_json: ReportAsJson = False,
) -> None:
    """Measure decoding, prefill and keystrokes beside transformers, llama.cpp, CTranslate2 and OpenVINO GenAI."""
    from codegen_lsp.evals.benchmarks import speed
    from codegen_lsp.evals.benchmarks.speed.text import bench_text
    from codegen_lsp.evals.harness.records import Folder

    settings = speed.SpeedSettings(
        model=absolute(model),
        tokens=tuple(sorted(set(tokens or (256, 1024)))),
        rounds=QUICK_ROUNDS if quick else rounds,
        threads=threads,
        engines=tuple(sorted(set(engine or ()))),
    )
    folder, specs = out or Path("bench"), speed.chosen(settings.engines)
    text = bench_text(settings)
    with Folder(folder, asdict(settings)) as opened, progress_bar("rounds") as progress:
        speed.measure(opened, settings, specs, text.tokens, progress)
        data = speed.write_report(opened, settings, specs, text.bytes)
    finish(data, folder, as_json)
