"""Print for people: no text of a file, a model or a server reaches the terminal as a command.

A terminal obeys escape sequences (OSC 52 sets the clipboard, others hide or overwrite lines), and rich obeys markup
such as `[/bold]`. Every command prints through this module, which shows control characters as `\\x1b` and hands
rich only `Text` objects. Needs the standard library alone; rich is imported when a table or a colour is printed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from codegen_lsp.escaping import CONTROL, escape
from codegen_lsp.wire.errors import CodegenError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from codegen_lsp.evals.harness.retrying_client import ReportProgress


def say(text: object = "", *, file: TextIO | None = None) -> None:
    """Print one text for people."""
    _print(escape(text), file or sys.stdout)


def say_data(text: str) -> None:
    """Print a text that may be data for another program: unchanged unless it goes to a terminal."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    _print(escape(text) if is_terminal else text, sys.stdout)


def read_standard_input() -> bytes:
    """Return all of standard input.

    Raises:
        CodegenError: it is closed (`<&-`).
    """
    if sys.stdin is None:
        raise CodegenError("standard input is closed; pass a file, or a text to read")
    return sys.stdin.buffer.read()


def _print(text: str, file: TextIO | None) -> None:
    if file is None:
        return  # closed by the caller (`>&-`), who wants no output
    encoding = file.encoding or "utf-8"
    file.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    file.flush()


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON; control characters that JSON leaves alone are written as `\\u009b`."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    _print(CONTROL.sub(_json_escape, text), sys.stdout)


def _json_escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def styled(text: object, style: str = "") -> Text:
    """Return foreign text for rich: escaped, and never read as markup."""
    from rich.text import Text

    return Text(escape(text), style=style)


def console(*, errors: bool = False, soft_wrap: bool = False) -> Console:
    """Return a console that reads no markup, no emoji names and highlights nothing."""
    from rich.console import Console

    return Console(stderr=errors, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)


def format_size(count: int) -> str:
    """Return a number of bytes as people write it: `1.5 GiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.3g} GiB"


@contextmanager
def progress_bar(what: str) -> Iterator[ReportProgress]:
    """Show a progress bar on standard error while the block runs, if that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = console(errors=True)
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report


@contextmanager
def bytes_written(what: str) -> Iterator[ReportProgress]:
    """Show how many bytes are written while the block runs."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    screen = console(errors=True)
    with Progress(*columns, TimeRemainingColumn(), console=screen, disable=not screen.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report
