"""`codegen-lsp eval passthrough`: whether what a model writes arrives in the document intact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from codegen_lsp import __version__
from codegen_lsp.commands.evaluate.bench import Out, ReportAsJson, finish
from codegen_lsp.commands.options import Seed


def passthrough(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of source files.")],
    out: Out = None,
    places: Annotated[int, typer.Option(help="Places of each kind in each language.", min=1)] = 60,
    seed: Seed = 0,
    as_json: ReportAsJson = False,
) -> None:
    """Continue real files with what they hold: what arrives intact, cut, dropped, changed or doubled."""
    from codegen_lsp.evals.benchmarks import passthrough as benchmark

    settings = benchmark.PassthroughSettings(places=places, seed=seed)
    folder = out or Path("eval-passthrough")
    about: dict[str, Any] = {"version": __version__, "settings": benchmark.settings_of(settings)}
    data = benchmark.write_report(folder, list(benchmark.evaluate(paths, settings)), about)
    finish(data, folder, as_json)
