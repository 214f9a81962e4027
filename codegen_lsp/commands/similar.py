"""`codegen-lsp similar FILE:LINE`: list the functions of a workspace that are nearest to one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codegen_lsp.commands.engines import embed, run
from codegen_lsp.commands.options import EngineChoice, Layer, Pooling, with_options
from codegen_lsp.commands.terminal import say, say_json

if TYPE_CHECKING:
    from codegen_lsp.evals.benchmarks.features import Function


@with_options
def similar(
    place: Annotated[str, typer.Argument(metavar="FILE:LINE", help="A line of the function, 1-based.")],
    engine: EngineChoice,
    root: Annotated[
        Path | None, typer.Option(help="Folder to search; by default the folder of the file.")
    ] = None,
    count: Annotated[int, typer.Option("--n", "-n", help="Maximum number of functions.", min=1)] = 10,
    layer: Layer = -1,
    pooling: Pooling = "mean",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the functions of a workspace that are nearest to the one around a line."""
    from codegen_lsp.evals.benchmarks.features import nearest

    functions, target = _functions(place, root)
    options = {"layer": layer, "pooling": pooling}
    vectors, _ = run(embed([f.text for f in functions], engine, options))
    neighbours = [(functions[index], cosine) for index, cosine in nearest(vectors, target, count)]
    if as_json:
        say_json(
            [
                {"path": str(f.path), "line": f.line, "name": f.name, "similarity": cosine}
                for f, cosine in neighbours
            ]
        )
        return
    for function, cosine in neighbours:
        say(f"{cosine:6.3f}  {function.path}:{function.line}  {function.name}")


def _functions(place: str, root: Path | None) -> tuple[list[Function], int]:
    """Return all functions of the workspace, and the index of the one at `FILE:LINE`.

    Raises:
        EvaluationError: the place is malformed or lies in no function, or there is no other function.
    """
    from codegen_lsp.evals.benchmarks import features
    from codegen_lsp.evals.harness.files import read_text
    from codegen_lsp.evals.harness.records import EvaluationError

    name, _, number = place.rpartition(":")
    if not name or not number.isascii() or not number.isdigit() or int(number) < 1:
        raise EvaluationError(f"expected FILE:LINE, for example src/app.py:12, got {place!r}")
    path = Path(name)
    functions = features.functions(path, read_text(path))
    target = features.function_at(functions, int(number))
    if target is None:
        raise EvaluationError(f"line {number} of {name} is not inside a function or class")
    folder = root or path.absolute().parent
    functions += features.workspace_functions(folder, without=path)
    if len(functions) < 2:
        raise EvaluationError(f"there is no other function in {folder}")
    return functions, target
