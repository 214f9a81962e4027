"""`codegen-lsp score`: how likely a model finds a text, and which lines surprise it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codegen_lsp.commands.engines import connected, run
from codegen_lsp.commands.options import EngineChoice, with_options
from codegen_lsp.commands.terminal import console, read_standard_input, say_json, styled
from codegen_lsp.escaping import escape

if TYPE_CHECKING:
    from codegen_lsp.wire.scoring import Scored


@with_options
def score(
    file: Annotated[str, typer.Argument(help="A file, or - for standard input.")],
    engine: EngineChoice,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, with every token.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page of the code to this file.")] = None,
    lines: Annotated[int, typer.Option(help="Number of most surprising lines to list.", min=0)] = 5,
) -> None:
    """Score a text: perplexity, bits per byte, and each token's surprise as a colour."""
    from codegen_lsp.evals.benchmarks import likelihood
    from codegen_lsp.evals.harness.records import write_atomically

    scored, model = run(_score(_read(file), engine))
    if html is not None:
        title = "standard input" if file == "-" else file
        write_atomically(html, likelihood.page(scored, title, model))
    if as_json:
        say_json({"model": model, "file": file, **scored.to_json()})
        return
    _print_score(scored, model, lines)


async def _score(text: str, choice: EngineChoice) -> tuple[Scored, str]:
    from codegen_lsp.evals.harness.retrying_client import RetryingClient
    from codegen_lsp.wire import scoring

    async with connected(choice) as connection:
        client = RetryingClient(connection.engine, model=connection.info.id)
        context = connection.info.max_model_len or 2048
        return await scoring.score(client.ask, text, context), connection.info.id


def _print_score(scored: Scored, model: str, lines: int) -> None:
    """Print the code in colours, the figures, and the most surprising lines."""
    from rich.text import Text

    from codegen_lsp.evals.benchmarks import likelihood

    screen = console(soft_wrap=True)
    code = Text()
    for token in scored.tokens:
        code.append(escape(token.text), style=likelihood.shade(token.logprob))
    screen.print(code, end="" if scored.text.endswith("\n") else "\n")
    figures = (
        f"{model}: {scored.predicted} tokens predicted, {scored.total:.4f} nats in total, "
        f"{scored.mean:.4f} per token, perplexity {scored.perplexity:.3f}, {scored.bits_per_byte:.4f} bits per byte"
    )
    screen.print(styled(figures))
    code_lines = scored.text.split("\n")
    for number, surprise, count in scored.most_surprising(lines):
        line = code_lines[number - 1].strip() if number <= len(code_lines) else ""
        screen.print(styled(f"  line {number}: {surprise / count:.2f} nats per token  {line}"))


def _read(file: str) -> str:
    from codegen_lsp.evals.harness.files import read_text
    from codegen_lsp.evals.harness.records import DataError

    if file != "-":
        return read_text(Path(file))
    try:
        return read_standard_input().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"standard input is not UTF-8: {error}") from error
