"""`codegen-lsp complete FILE:LINE:COL`: print what an editor would show at a place in a file.

Asks the real language server over stdio, through `HeadlessEditor`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codegen_lsp.commands.options import AsJson, ServerOption, TokenOption, with_options
from codegen_lsp.commands.terminal import console, say_json, styled
from codegen_lsp.escaping import escape
from codegen_lsp.evals.harness.files import MAX_BYTES
from codegen_lsp.regular_file import read_regular_file
from codegen_lsp.wire.config import expanded
from codegen_lsp.wire.errors import CodegenError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class PlaceError(CodegenError):
    """FILE:LINE:COL is not a place in a readable text file."""


@dataclass(frozen=True)
class FilePlace:
    """A place in a file, 0-based, columns in characters."""

    path: Path
    text: str
    line: int
    column: int

    @property
    def line_prefix(self) -> str:
        """Text of the line before the place."""
        return _lines(self.text)[self.line][: self.column]


def parse_place(text: str) -> FilePlace:
    """Return the place that `FILE:LINE:COL` names, 1-based as editors show it.

    Raises:
        PlaceError: the text is malformed, the file is not UTF-8, or the file has no such line or column.
    """
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() for p in parts[1:]):
        raise PlaceError(f"expected FILE:LINE:COL, for example module.py:12:5, got {text!r}")
    path, line, column = expanded(parts[0]), int(parts[1]), int(parts[2])
    try:
        content = read_regular_file(path, MAX_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise PlaceError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise PlaceError(f"{path} is a folder; name a file in it") from None
    except UnicodeDecodeError:
        raise PlaceError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise PlaceError(f"can't read {path}: {error.strerror or error}") from None
    lines = _lines(content)
    if not 1 <= line <= len(lines):
        raise PlaceError(f"{path} has {len(lines)} lines; there is no line {line}")
    if not 1 <= column <= len(lines[line - 1]) + 1:
        width = len(lines[line - 1])
        raise PlaceError(
            f"line {line} of {path} has {width} characters, so columns 1 to {width + 1}; not {column}"
        )
    return FilePlace(path, content, line - 1, column - 1)


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


@dataclass(frozen=True)
class ShownSuggestions:
    """Suggestions at a place, as `complete` prints them."""

    items: Sequence[Mapping[str, Any]]
    """One `{"text", "range", "score", "mean_logprob"}` for each suggestion, best first."""
    reason: str | None
    """Why there is no suggestion; None if there is one."""
    timings: Mapping[str, float]
    """Milliseconds."""
    usage: Mapping[str, int]
    model: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        return {
            "items": list(self.items),
            "reason": self.reason,
            "timings": dict(self.timings),
            "usage": dict(self.usage),
        }


async def ask(
    place: FilePlace, options: Mapping[str, Any], n: int, *, screen: Console | None = None
) -> ShownSuggestions:
    """Start a language server, and return its ranked suggestions at a place.

    Args:
        place: Where to ask.
        options: The server's initializationOptions.
        n: Maximum number of suggestions.
        screen: Where to show that the model loads; None shows nothing.
    """
    from codegen_lsp.headless_editor import HeadlessEditor, workspace_of

    started = time.perf_counter()
    with _spinner(screen) as show:
        async with HeadlessEditor(options, root=workspace_of(place.path), on_status=show) as editor:
            for message in editor.messages:
                show({"message": message})
            await editor.ready()
            ready = time.perf_counter()
            uri = editor.open(place.path, place.text)
            items = await editor.inline(uri, place.line, place.column)
            answered = time.perf_counter()
            record = await editor.last_request(uri)
    if screen is not None:
        for message in editor.messages:
            screen.print(styled(message, "yellow"))
    timings = {k: v for k, v in (record.get("timings") or {}).items() if isinstance(v, int | float)}
    timings |= {"start_ms": (ready - started) * 1000, "request_ms": (answered - ready) * 1000}
    return ShownSuggestions(
        items=[_item(item, record) for item in items[:n]],
        reason=None if items else record.get("reason") or "empty",
        timings={k: round(v, 2) for k, v in timings.items()},
        usage=record.get("usage") or {},
        model=str(record.get("model") or editor.status.get("model") or ""),
    )


def _item(item: Any, record: Mapping[str, Any]) -> dict[str, Any]:
    text = item.insert_text if isinstance(item.insert_text, str) else item.insert_text.value
    candidates = {c.get("id"): c for c in record.get("candidates") or ()}
    arguments = item.command.arguments if item.command is not None else None
    candidate = candidates.get(arguments[0], {}) if arguments else {}
    span = None
    if item.range is not None:
        start, end = item.range.start, item.range.end
        span = {
            "start": {"line": start.line, "character": start.character},
            "end": {"line": end.line, "character": end.character},
        }
    return {
        "text": text,
        "range": span,
        "score": candidate.get("score"),
        "mean_logprob": candidate.get("meanLogprob"),
    }


@contextmanager
def _spinner(screen: Console | None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show the server's status while the block runs, if there is a terminal to show it on."""
    if screen is None:
        yield lambda _: None
        return
    with screen.status("starting the language server") as status:

        def show(report: Mapping[str, Any]) -> None:
            if report.get("message"):
                status.update(styled(report["message"]))

        yield show


def render(place: FilePlace, answer: ShownSuggestions) -> list[RenderableType]:
    """Return the answer for people: a panel for each suggestion, then one line of figures."""
    parts = [_panel(place, number, item) for number, item in enumerate(answer.items, 1)]
    if not answer.items:
        parts.append(styled(f"no suggestion: {answer.reason}", "yellow"))
    usage, timings = answer.usage, answer.timings
    figures = (
        f"{answer.model}: {timings.get('request_ms', 0):.0f} ms for the suggestions, "
        f"{timings.get('start_ms', 0) / 1000:.1f} s to start; {usage.get('prompt_tokens', 0)} tokens of prompt, "
        f"{usage.get('cached_tokens', 0)} of them from the cache, {usage.get('completion_tokens', 0)} written"
    )
    return [*parts, styled(figures, "dim")]


def _panel(place: FilePlace, number: int, item: Mapping[str, Any]) -> RenderableType:
    from rich.panel import Panel
    from rich.text import Text

    # The first line is shown with its indentation, as the other lines are.
    code = Text(escape(place.line_prefix), style="dim", overflow="fold")
    code.append(escape(item["text"]), style="bold green")
    title = f"{number}"
    if item["score"] is not None:
        title += f"   score {item['score']:.2f}"
    if item["mean_logprob"] is not None:
        title += f"   mean log-probability {item['mean_logprob']:.2f}"
    return Panel(code, title=title, title_align="left", expand=False)


@dataclass(frozen=True)
class CompletionEngine:
    """The engine that the language server asks; None leaves a choice to the server's own default."""

    model: Annotated[str | None, typer.Option(help="nano, 350M-mono, ..., a hub name or a folder.")] = None
    server: ServerOption = None
    token: TokenOption = None


@with_options
def complete(
    place: Annotated[
        str, typer.Argument(metavar="FILE:LINE:COL", help="The place, 1-based, as editors show it.")
    ],
    engine: CompletionEngine,
    n: Annotated[int, typer.Option("--n", "-n", min=1, max=16, help="Maximum number of suggestions.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Show the suggestions that an editor would show at a place in a file."""
    options = {name: value for name, value in vars(engine).items() if value is not None}
    file_place = parse_place(place)
    errors = console(errors=True)
    screen = errors if errors.is_terminal else None
    answer = asyncio.run(ask(file_place, options | {"candidates": n}, n, screen=screen))
    if as_json:
        say_json(answer.to_json(), indent=2)
        return
    output = console()
    for part in render(file_place, answer):
        output.print(part)
