"""`codegen-lsp eval replay`: type real files through the real language server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from codegen_lsp import __version__
from codegen_lsp.commands.engines import run
from codegen_lsp.commands.evaluate.bench import Out, ReportAsJson, finish
from codegen_lsp.commands.options import EngineChoice, Seed, absolute, with_options
from codegen_lsp.commands.terminal import progress_bar


@with_options
def replay(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of source files.")],
    engine: EngineChoice,
    out: Out = None,
    characters: Annotated[int, typer.Option(help="Characters to type in each file.", min=20)] = 400,
    gaps: Annotated[int, typer.Option(help="Places in each file where they are typed.", min=1)] = 3,
    pace: Annotated[
        float,
        typer.Option(help="0 waits for every answer; 1 types as fast as a person; 2 half as fast.", min=0),
    ] = 0.0,
    files: Annotated[int, typer.Option(help="Number of files, from the first; 0 for all.", min=0)] = 0,
    other_files: Annotated[
        bool, typer.Option("--other-files/--no-other-files", help="Show the model what other files say.")
    ] = True,
    seed: Seed = 0,
    trace: Annotated[
        bool, typer.Option("--trace", help="Record the requests to the engine, for cluster plan --traces.")
    ] = False,
    as_json: ReportAsJson = False,
) -> None:
    """Type real files through the real language server: keystrokes saved, latencies, cache hits."""
    from codegen_lsp.evals.benchmarks import replay as benchmark
    from codegen_lsp.evals.harness.records import Folder

    settings = benchmark.ReplaySettings(characters=characters, gaps=gaps, pace=pace, seed=seed, trace=trace)
    chosen = [path.absolute() for path in benchmark.find_files(paths)][: files or None]
    named = {"model": absolute(engine.model), "server": engine.server, "token": engine.token}
    options = {name: value for name, value in named.items() if value is not None}
    options["otherFiles"] = "always" if other_files else "never"
    stored = benchmark.settings_of(settings) | {"other_files": other_files}
    source = {"model": engine.model, "server": engine.server}
    folder_path = out or Path("eval-replay")

    async def work() -> dict[str, Any]:
        with Folder(folder_path, source | stored) as folder, progress_bar("files") as progress:
            tallies = await benchmark.evaluate(options, folder, settings, chosen, progress)
            about = source | {"server": engine.server or "local", "version": __version__, "settings": stored}
            return benchmark.write_report(folder, tallies, about)

    finish(run(work()), folder_path, as_json)
