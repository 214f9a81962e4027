"""`codegen-lsp eval crossfile`: what other files add to lines that need them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from codegen_lsp import __version__
from codegen_lsp.commands.engines import connected, run
from codegen_lsp.commands.evaluate.bench import Out, ReportAsJson, finish
from codegen_lsp.commands.options import EngineChoice, Seed, with_options
from codegen_lsp.commands.terminal import progress_bar


@with_options
def crossfile(
    paths: Annotated[list[Path], typer.Argument(help="Folders of Python packages.")],
    engine: EngineChoice,
    out: Out = None,
    tasks: Annotated[int, typer.Option(help="Number of lines of each package.", min=1)] = 100,
    share: Annotated[float, typer.Option(help="The setting otherFilesShare.", min=0, max=0.5)] = 0.25,
    seed: Seed = 0,
    as_json: ReportAsJson = False,
) -> None:
    """Complete lines that need another file of their package, with and without what other files say."""
    from codegen_lsp.evals.benchmarks import crossfile as benchmark
    from codegen_lsp.evals.harness.records import Folder
    from codegen_lsp.evals.harness.retrying_client import RetryingClient

    settings = benchmark.CrossfileSettings(tasks=tasks, share=share, seed=seed)
    stored = benchmark.settings_of(settings, paths)
    folder_path = out or Path("eval-crossfile")

    async def work() -> dict[str, Any]:
        async with connected(engine) as connection:
            name = connection.info.id
            about = {"model": name, "server": connection.address, "version": __version__, "settings": stored}
            with Folder(folder_path, {"model": name, **stored}) as folder:
                with progress_bar("packages") as progress:
                    chosen = await asyncio.to_thread(benchmark.find_tasks, paths, settings, folder, progress)
                client = RetryingClient(connection.engine, model=name)
                completer = benchmark.LineCompleter(client, connection.engine, connection.info, share)
                try:
                    with progress_bar("lines") as progress:
                        records = await benchmark.evaluate(completer, folder, chosen, progress)
                finally:
                    await completer.aclose()
                return benchmark.write_report(folder, records, chosen, about)

    finish(run(work()), folder_path, as_json)
