"""The subcommands of `codegen-lsp`, put together from the sides they belong to.

Knows options and help texts. Each command imports what it needs when it runs.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from codegen_lsp import __version__


def build_app() -> typer.Typer:
    """The command line without its default, the language server."""
    from codegen_lsp.commands import engine, evaluate, texts

    app = typer.Typer(
        help="Code completion from a model on your own machine. Without a command: the language server on stdio "
        "(--tcp HOST:PORT listens there instead).",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode=None,
    )
    models = typer.Typer(help="List, download, plan and synthesize models.", no_args_is_help=True)
    app.callback()(_root)
    app.command("complete")(complete)
    app.command("generate")(engine.generate)
    app.command("serve")(engine.serve)
    app.command("doctor")(doctor)
    app.add_typer(models, name="models")
    models.callback(invoke_without_command=True, no_args_is_help=False)(_models_root)
    models.command("list")(engine.models_list)
    models.command("pull")(engine.models_pull)
    models.command("plan")(engine.models_plan)
    models.command("synthesize")(engine.models_synthesize)
    benchmarks = typer.Typer(
        help="Evaluate a model on the field's benchmarks and on a person's typing.", no_args_is_help=True
    )
    app.add_typer(benchmarks, name="eval")
    benchmarks.command("humaneval")(evaluate.eval_humaneval)
    benchmarks.command("mtpb")(evaluate.eval_mtpb)
    benchmarks.command("infilling")(evaluate.eval_infilling)
    benchmarks.command("replay")(evaluate.eval_replay)
    app.command("score")(texts.score)
    app.command("features")(texts.features)
    app.command("similar")(texts.similar)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"codegen-lsp {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Code completion from a model on your own machine."""


def _models_root(context: typer.Context) -> None:
    """List, download, plan and synthesize models; without a word: list."""
    if context.invoked_subcommand is None:
        from codegen_lsp.commands import engine

        engine.models_list()


def complete(
    place: Annotated[
        str, typer.Argument(metavar="FILE:LINE:COL", help="Where, 1-based, as editors show it.")
    ],
    n: Annotated[int, typer.Option("--n", "-n", min=1, max=16, help="Suggestions at most.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    model: Annotated[str | None, typer.Option(help="nano, 350M-mono, ..., a hub name or a folder.")] = None,
    server: Annotated[str | None, typer.Option(help="URL of a completions server to use instead.")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="CODEGEN_LSP_TOKEN", help="Bearer token of that server.")
    ] = None,
) -> None:
    """Show what an editor would be shown at a place in a file."""
    from codegen_lsp.commands.complete import run

    named: dict[str, Any] = {"model": model, "server": server, "token": token}
    options = {k: v for k, v in named.items() if v is not None}
    run(place, options | {"candidates": n}, n, as_json=json)


def doctor(
    model: Annotated[str, typer.Option(help="A model to look at too: a name or a folder.")] = "nano",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what this machine can run, and what is wrong."""
    from codegen_lsp.commands.doctor import run

    run(model, as_json=json)
