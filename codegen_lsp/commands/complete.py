"""`codegen-lsp complete FILE:LINE:COL`: what an editor would be shown there, in the terminal.

Knows a place in a file and how to print suggestions. Goes through the real language server over stdio.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codegen_lsp.wire.errors import CodegenError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class PlaceError(CodegenError):
    """FILE:LINE:COL names no place in a file that can be read."""


@dataclass(frozen=True)
class FilePlace:
    """A place in a file, 0-based, columns in characters."""

    path: Path
    text: str
    line: int
    column: int

    @property
    def line_prefix(self) -> str:
        """The text of the line before the place."""
        return _lines(self.text)[self.line][: self.column]


def parse_place(text: str) -> FilePlace:
    """The place that `FILE:LINE:COL` names, 1-based as editors show it.

    Raises:
        PlaceError: the words are off, the file can't be read as UTF-8, or the file has no such place.
    """
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() for p in parts[1:]):
        raise PlaceError(f"{text!r} is no FILE:LINE:COL; write for example module.py:12:5")
    path, line, column = Path(parts[0]).expanduser(), int(parts[1]), int(parts[2])
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise PlaceError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise PlaceError(f"{path} is a folder; name a file in it") from None
    except UnicodeDecodeError:
        raise PlaceError(f"{path} is not UTF-8 text") from None
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
    """What `complete` prints."""

    items: Sequence[Mapping[str, Any]]
    """`{"text", "range", "score", "mean_logprob"}` each, best first."""
    reason: str | None
    """Why there is none."""
    timings: Mapping[str, float]
    """Milliseconds."""
    usage: Mapping[str, int]
    model: str = ""

    def to_json(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {
            "items": list(self.items),
            "reason": self.reason,
            "timings": dict(self.timings),
            "usage": dict(self.usage),
        }


async def ask(
    place: FilePlace, options: Mapping[str, Any], n: int, *, console: Console | None = None
) -> ShownSuggestions:
    """The ranked suggestions at a place, from a language server of our own.

    Args:
        place: where.
        options: initializationOptions of the server.
        n: suggestions at most, the best ones.
        console: where to show that the model loads; None shows nothing.
    """
    from codegen_lsp.headless_editor import HeadlessEditor

    started = time.perf_counter()
    with _spinner(console) as show:
        async with HeadlessEditor(options, root=place.path.absolute().parent, on_status=show) as session:
            for message in session.messages:
                show({"message": message})
            await session.ready()
            ready = time.perf_counter()
            uri = session.open(place.path, place.text)
            items = await session.inline(uri, place.line, place.column)
            answered = time.perf_counter()
            last = await session.last_request(uri)
    if session.messages and console is not None:
        for message in session.messages:
            console.print(message, style="yellow", highlight=False)
    timings = {k: v for k, v in (last.get("timings") or {}).items() if isinstance(v, int | float)}
    timings |= {"start_ms": (ready - started) * 1000, "request_ms": (answered - ready) * 1000}
    return ShownSuggestions(
        items=[_item(item, last) for item in items[:n]],
        reason=None if items else last.get("reason") or "empty",
        timings={k: round(v, 2) for k, v in timings.items()},
        usage=last.get("usage") or {},
        model=str(last.get("model") or session.status.get("model") or ""),
    )


def _item(item: Any, last: Mapping[str, Any]) -> dict[str, Any]:
    text = item.insert_text if isinstance(item.insert_text, str) else item.insert_text.value
    known = {c.get("id"): c for c in last.get("candidates") or ()}
    arguments = item.command.arguments if item.command is not None else None
    candidate = known.get(arguments[0], {}) if arguments else {}
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


class _spinner:  # noqa: N801  # reads as the function it stands for
    """Shows the server's status while the block runs, where there is a terminal to show it on."""

    def __init__(self, console: Console | None) -> None:
        self._status = console.status("starting the language server") if console is not None else None

    def __enter__(self) -> Any:
        if self._status is not None:
            self._status.start()
        return self._show

    def _show(self, status: Mapping[str, Any]) -> None:
        if self._status is not None and status.get("message"):
            self._status.update(str(status["message"]))

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()


def render(place: FilePlace, answer: ShownSuggestions) -> list[RenderableType]:
    """The answer for a person: a panel a suggestion, then one line of figures."""
    from rich.panel import Panel
    from rich.text import Text

    parts: list[RenderableType] = []
    for number, item in enumerate(answer.items, 1):
        # With its indentation: the lines below have theirs too.
        code = Text(place.line_prefix, style="dim", overflow="fold")
        code.append(item["text"], style="bold green")
        title = f"{number}"
        if item["score"] is not None:
            title += f"   score {item['score']:.2f}"
        if item["mean_logprob"] is not None:
            title += f"   mean log-probability {item['mean_logprob']:.2f}"
        parts.append(Panel(code, title=title, title_align="left", expand=False))
    if not answer.items:
        parts.append(Text(f"no suggestion here: {answer.reason}", style="yellow"))
    usage, timings = answer.usage, answer.timings
    parts.append(
        Text(
            f"{answer.model}: {timings.get('request_ms', 0):.0f} ms for the suggestions, "
            f"{timings.get('start_ms', 0) / 1000:.1f} s to start; {usage.get('prompt_tokens', 0)} tokens of prompt, "
            f"{usage.get('cached_tokens', 0)} of them from the cache, {usage.get('completion_tokens', 0)} written",
            style="dim",
        )
    )
    return parts


def run(place_text: str, options: Mapping[str, Any], n: int, *, as_json: bool) -> None:
    """Ask and print; progress goes to standard error."""
    import json

    from rich.console import Console

    place = parse_place(place_text)
    errors = Console(stderr=True)
    answer = asyncio.run(ask(place, options, n, console=errors if errors.is_terminal else None))
    if as_json:
        json.dump(answer.to_json(), sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    console = Console(highlight=False)
    for part in render(place, answer):
        console.print(part)
