"""The command `codegen-lsp`: the language server without a subcommand, everything else with one.

Knows the names of the commands and how an error is shown: one sentence, exit code 2, never a traceback.
Imports a side only when it is chosen; an editor that starts the language server does not even pay for typer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from codegen_lsp.wire.errors import CodegenError

if TYPE_CHECKING:
    import typer

USAGE_EXIT = 2


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if not arguments or arguments[0] in ("--stdio", "--tcp", "--socket"):
            _language_server(arguments)
        else:
            _app()(args=arguments, prog_name="codegen-lsp")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output left (`| head`); nothing is lost.
        sys.stderr.close()
        sys.exit(0)
    except (CodegenError, OSError) as error:
        fail(str(error))
    except ModuleNotFoundError as error:
        _fail_without_extra(error)


def fail(message: str) -> NoReturn:
    """Print one sentence on standard error and leave with exit code 2."""
    print(f"codegen-lsp: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(USAGE_EXIT)


def _fail_without_extra(error: ModuleNotFoundError) -> NoReturn:
    """Say which extra of the package installs the missing module, if one does."""
    from codegen_lsp.wire import extras

    extra = extras.extra_of(error.name)
    if extra is None:
        raise error
    fail(extras.sentence(extra, (extras.missing(extra) or [str(error.name)])[0]))


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[::1]:PORT`, or `:PORT` on loopback.

    Raises:
        ValueError: it is none of these.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is no HOST:PORT; write for example 127.0.0.1:4711")
    return host.strip("[]") or "127.0.0.1", int(port)


def _language_server(arguments: list[str]) -> None:
    address = socket = None
    if arguments and arguments[0] == "--socket":
        if len(arguments) != 2:
            fail("--socket takes one path, for example --socket /run/user/1000/codegen.sock")
        socket = Path(arguments[1])
    elif arguments and arguments[0] == "--tcp":
        if len(arguments) != 2:
            fail("--tcp takes one HOST:PORT, for example --tcp 127.0.0.1:4711")
        try:
            address = parse_address(arguments[1])
        except ValueError as error:
            fail(str(error))
    elif len(arguments) > 1:
        # Editors add flags of their own (--clientProcessId=...); what we don't know must not stop the start.
        unknown = [a for a in arguments[1:] if not a.startswith(("--clientProcessId", "--stdio"))]
        if unknown:
            fail(
                f"{unknown[0]!r} is no option of the language server; `codegen-lsp --help` lists the commands"
            )
    elif not arguments and sys.stdin is not None and sys.stdin.isatty():
        print(  # noqa: T201
            "codegen-lsp: the language server now waits for an editor on standard input; "
            "`codegen-lsp --help` lists the other commands, Ctrl-C ends it.",
            file=sys.stderr,
        )
    import importlib

    sys.exit(importlib.import_module("codegen_lsp.lsp.main").main(tcp=address, socket=socket))


def _app() -> typer.Typer:
    from codegen_lsp.commands.app import build_app

    return build_app()
