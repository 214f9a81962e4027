"""The commands `score`, `features` and `similar`: what a model says of a text, and what it makes of it.

Knows flags and what is printed. Imports nothing heavy before it has to.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codegen_lsp.evals.harness.command_options import ModelName, Server, TokenOption, bar, connected, run

if TYPE_CHECKING:
    from codegen_lsp.wire.scoring import Scored


def score(
    file: Annotated[str, typer.Argument(help="A file, or - for standard input.")],
    model: ModelName = "nano",
    server: Server = None,
    token: TokenOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, with every token.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page of the code to this file.")] = None,
    lines: Annotated[int, typer.Option(help="Name so many of the most surprising lines.", min=0)] = 5,
) -> None:
    """How likely a model finds a text: perplexity, bits per byte, and each token's surprise as a colour."""
    from codegen_lsp.evals.benchmarks import likelihood
    from codegen_lsp.evals.harness.records import write_atomically
    from codegen_lsp.evals.harness.retrying_client import RetryingClient
    from codegen_lsp.wire import scoring

    text = _read(file)

    async def work() -> tuple[Scored, str]:
        async with connected(model, server, token) as engine:
            asker = RetryingClient(engine.engine, model=engine.info.id)
            context = engine.info.max_model_len or 2048
            return await scoring.score(asker.ask, text, context), engine.info.id

    scored, name = run(work())
    if html is not None:
        write_atomically(html, likelihood.page(scored, "standard input" if file == "-" else file, name))
    if as_json:
        typer.echo(json.dumps({"model": name, "file": file, **scored.to_json()}, ensure_ascii=False))
        return
    _print_score(scored, name, lines)


def _print_score(scored: Scored, model: str, lines: int) -> None:
    """Print the code in colours, the figures, and the lines that surprise most."""
    from rich.console import Console
    from rich.text import Text

    from codegen_lsp.evals.benchmarks import likelihood

    console = Console(soft_wrap=True, highlight=False)
    code = Text()
    for token in scored.tokens:
        code.append(token.text, style=likelihood.shade(token.logprob))
    console.print(code, end="" if scored.text.endswith("\n") else "\n")
    console.print(
        f"{model}: {scored.predicted} tokens predicted, {scored.total:.4f} nats together, {scored.mean:.4f} a token, "
        f"perplexity {scored.perplexity:.3f}, {scored.bits_per_byte:.4f} bits a byte"
    )
    code_lines = scored.text.split("\n")
    for number, surprise, count in scored.most_surprising(lines):
        line = code_lines[number - 1].strip() if number <= len(code_lines) else ""
        console.print(f"  line {number}: {surprise / count:.2f} nats a token  {line}", markup=False)


def _read(file: str) -> str:
    from codegen_lsp.evals.benchmarks.features import read_text
    from codegen_lsp.evals.harness.records import DataError

    if file != "-":
        return read_text(Path(file))
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"standard input is not UTF-8: {error}") from error


Layer = Annotated[int, typer.Option(help="0: the embedding table; n: layer n; -1: the last.")]
Pooling = Annotated[str, typer.Option(help="last (token) or mean (of all tokens).")]


def features(
    files: Annotated[list[Path], typer.Argument(help="Files to embed, each as one text.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npz to write: names, features, model.")],
    model: ModelName = "nano",
    server: Server = None,
    token: TokenOption = None,
    layer: Layer = -1,
    pooling: Pooling = "mean",
    normalize: Annotated[bool, typer.Option(help="Scale every vector to length 1.")] = True,
) -> None:
    """Write the features of files to a .npz file of numpy's."""
    from codegen_lsp.evals.benchmarks import features as parts

    texts = [parts.read_text(path) for path in files]
    options = {"layer": layer, "pooling": pooling, "normalize": normalize}
    vectors, name = run(_embed(texts, model, server, token, options))
    import numpy

    if out.suffix != ".npz":
        out = out.with_name(out.name + ".npz")
    array = numpy.asarray(vectors, dtype=numpy.float32)
    numpy.savez_compressed(out, names=numpy.asarray([str(f) for f in files]), features=array, model=name)
    typer.echo(f"{out}: {array.shape[0]} × {array.shape[1]} features of {name}")


def similar(
    place: Annotated[str, typer.Argument(metavar="FILE:LINE", help="A line of the function, 1-based.")],
    root: Annotated[Path | None, typer.Option(help="The workspace; the file's folder without it.")] = None,
    count: Annotated[int, typer.Option("--n", "-n", help="Functions at most.", min=1)] = 10,
    model: ModelName = "nano",
    server: Server = None,
    token: TokenOption = None,
    layer: Layer = -1,
    pooling: Pooling = "mean",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the functions of a workspace nearest to the one around a line."""
    from codegen_lsp.evals.benchmarks import features as parts
    from codegen_lsp.evals.harness.records import EvaluationError

    name, _, number = place.rpartition(":")
    if not name or not number.isascii() or not number.isdigit() or int(number) < 1:
        raise EvaluationError(f"{place!r} is no FILE:LINE; write for example src/app.py:12")
    path = Path(name)
    own = parts.functions(path, parts.read_text(path))
    wanted = parts.function_at(own, int(number))
    if wanted is None:
        raise EvaluationError(f"line {number} of {name} lies in no function that the parsers know")
    others = [
        function
        for file in parts.source_files(root or path.absolute().parent)
        if not file.exists() or not file.samefile(path)
        for function in parts.functions(file, parts.read_text_or_nothing(file))
    ]
    known = own + others
    if len(known) < 2:
        raise EvaluationError(f"there is no other function in {root or path.absolute().parent}")
    options = {"layer": layer, "pooling": pooling}
    vectors, _ = run(_embed([f.text for f in known], model, server, token, options))
    found = [(known[index], cosine) for index, cosine in parts.nearest(vectors, wanted, count)]
    if as_json:
        rows = [{"path": str(f.path), "line": f.line, "name": f.name, "similarity": c} for f, c in found]
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for function, cosine in found:
        typer.echo(f"{cosine:6.3f}  {function.path}:{function.line}  {function.name}")


async def _embed(
    texts: list[str], model: str, server: str | None, token: str | None, options: dict[str, Any]
) -> tuple[list[list[float]], str]:
    from codegen_lsp.evals.benchmarks import features as parts

    async with connected(model, server, token) as engine:
        # Another server knows OpenAI's fields only; its own pooling is what it has.
        own = options if engine.engine.extensions else {}
        with bar("embedded") as progress:
            vectors = await parts.embed(engine.engine, texts, progress, **own)
        return vectors, engine.info.id
