"""The command `codegen-lsp`: the language server without a subcommand, everything else with one.

Lists the subcommands and imports only the one that is run, so that starting the language server does not import
typer. An error is printed as one sentence, with exit code 2 and without a traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from codegen_lsp.escaping import one_line
from codegen_lsp.wire.errors import CodegenError

if TYPE_CHECKING:
    import typer

USAGE_EXIT = 2

COMMANDS = {
    "complete": "complete:complete",
    "generate": "generate:generate",
    "serve": "serve:serve",
    "doctor": "doctor:doctor",
    "models": "models.app:app",
    "eval": "evaluate:app",
    "bench": "bench:bench",
    "score": "score:score",
    "features": "features:features",
    "similar": "similar:similar",
    "cluster": "cluster:app",
}
"""Module in `codegen_lsp.commands` and its function, or its group of subcommands, by the name of the subcommand."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if not arguments or arguments[0] in ("--stdio", "--tcp", "--socket"):
            _language_server(arguments)
        else:
            if argv is None and sys.flags.optimize > 1:
                _start_again_with_docstrings(arguments)
            _subcommand(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); nothing is lost.
        sys.stderr.close()
        sys.exit(0)
    except ModuleNotFoundError as error:
        _fail_without_extra(error)
    except (CodegenError, OSError) as error:
        fail(str(error))
    except (MemoryError, RecursionError) as error:
        fail(f"{type(error).__name__}: {error or 'this machine has not enough memory for it'}")


def _start_again_with_docstrings(arguments: list[str]) -> NoReturn:
    """Replace this process by one whose interpreter keeps docstrings: the libraries that load models read them."""
    from codegen_lsp.wire.child_process import package_command

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
    os.execve(sys.executable, package_command(*arguments), environment)


def fail(message: str) -> NoReturn:
    """Print one sentence on standard error and exit with code 2."""
    print(f"codegen-lsp: {one_line(message)}", file=sys.stderr)  # noqa: T201
    sys.exit(USAGE_EXIT)


def _fail_without_extra(error: ModuleNotFoundError) -> NoReturn:
    """Say which extra of the package installs the missing module, if one does."""
    from codegen_lsp.wire import extras

    extra = extras.extra_of(error.name)
    if extra is None:
        raise error
    fail(extras.sentence(extra, (extras.missing(extra) or [str(error.name)])[0]))


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, `[::1]:PORT`, or `:PORT` on loopback.

    Raises:
        ValueError: the text has another form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"expected HOST:PORT, for example 127.0.0.1:4711, got {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


def _language_server(arguments: list[str]) -> None:
    address = socket = None
    if arguments and arguments[0] == "--socket":
        if len(arguments) != 2:
            fail("--socket requires one path, for example --socket /run/user/1000/codegen.sock")
        socket = Path(arguments[1])
    elif arguments and arguments[0] == "--tcp":
        if len(arguments) != 2:
            fail("--tcp requires one HOST:PORT, for example --tcp 127.0.0.1:4711")
        try:
            address = parse_address(arguments[1])
        except ValueError as error:
            fail(str(error))
    elif len(arguments) > 1:
        # Editors add flags (--clientProcessId=...), which must not stop the start.
        unknown = [a for a in arguments[1:] if not a.startswith(("--clientProcessId", "--stdio"))]
        if unknown:
            fail(f"the language server has no option {unknown[0]!r}; `codegen-lsp --help` lists the commands")
    elif not arguments and sys.stdin is not None and sys.stdin.isatty():
        print(  # noqa: T201
            "codegen-lsp: the language server waits for an editor on standard input; "
            "`codegen-lsp --help` lists the other commands, Ctrl-C stops it.",
            file=sys.stderr,
        )
    sys.exit(importlib.import_module("codegen_lsp.lsp.main").main(tcp=address, socket=socket))


def _subcommand(arguments: list[str]) -> None:
    import typer

    # typer raises its errors as subclasses of click's, which newer versions of it bring along.
    kinds: Any = typer.BadParameter.__mro__
    usage_error = next(kind for kind in kinds if kind.__name__ == "ClickException")
    names = arguments[:1] if arguments[0] in COMMANDS else COMMANDS
    try:
        status = build_app(names)(args=arguments, prog_name="codegen-lsp", standalone_mode=False)
    except typer.Abort:
        sys.exit(1)
    except usage_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            sys.exit(USAGE_EXIT)
        fail(error.format_message())
    sys.exit(status if isinstance(status, int) else 0)


def build_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the command line with these subcommands, importing their modules."""
    import typer

    app = typer.Typer(
        help="Code completion from a model on your own machine. Without a command: the language server on stdio "
        "(--tcp HOST:PORT listens there instead).",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode=None,
    )
    version = Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ]

    def root(version: bool = False) -> None:
        """Complete code with a model on your own machine."""

    root.__annotations__["version"] = version
    app.callback()(root)
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(importlib.import_module(f"codegen_lsp.commands.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        import typer

        from codegen_lsp import __version__

        typer.echo(f"codegen-lsp {__version__}")
        raise typer.Exit
