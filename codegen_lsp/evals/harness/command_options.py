"""What the commands of this part share: flags, a progress bar, an engine, and how Ctrl-C ends them.

Knows nothing of what is evaluated. Imports nothing heavy before it has to.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from codegen_lsp.evals.harness.engine_process import Connected
    from codegen_lsp.evals.harness.retrying_client import ReportProgress

T = TypeVar("T")

ModelName = Annotated[str, typer.Option(help="nano, 350M-mono ... 16B-nl, a hub name, or a folder.")]
Server = Annotated[
    str | None, typer.Option(help="URL of a completions server to ask instead of this machine's engine.")
]
TokenOption = Annotated[
    str | None, typer.Option(envvar="CODEGEN_LSP_TOKEN", help="Bearer token of that server.")
]


def connected(model: str, server: str | None, token: str | None) -> AbstractAsyncContextManager[Connected]:
    """See `connection.connect`."""
    from codegen_lsp.evals.harness.engine_process import connect

    return connect(model, server, token)


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of an evaluation. Ctrl-C ends it in order and says how to go on."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        typer.echo("stopped; everything finished is kept, and the same command goes on from there", err=True)
        raise typer.Exit(130) from None


@contextmanager
def bar(what: str) -> Iterator[ReportProgress]:
    """A progress bar on standard error; plain lines are not needed where nobody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(file=sys.stderr)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=None)
        tell: Callable[[int, int], None] = lambda done, total: shown.update(  # noqa: E731
            task, completed=done, total=total
        )
        yield tell
