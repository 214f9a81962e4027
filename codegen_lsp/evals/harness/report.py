"""Reports: one JSON file for programs, one Markdown page for people, one picture.

Knows how they are written and drawn, not what they say. matplotlib is imported when a picture is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codegen_lsp.evals.harness.records import write_atomically
from codegen_lsp.wire.extras import install_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[["Axes"], None]


def write(folder: Path, data: Mapping[str, Any], lines: Iterable[str], draw: Draw | None = None) -> None:
    """Write `report.json`, `report.md` and, with `draw`, `report.png`, which the page then shows.

    Without matplotlib there is no picture, and the page says so; figures that took hours are not lost for it.
    """
    text = "\n".join(lines).rstrip() + "\n"
    if draw is not None:
        drawn = save_picture(folder / "report.png", draw)
        text += "\n" + ("![The figures as a picture](report.png)" if drawn else _no_picture()) + "\n"
    write_atomically(folder / "report.json", json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    write_atomically(folder / "report.md", text)


def _no_picture() -> str:
    return f"There is no picture: matplotlib is not installed. To install it: {install_command('eval')}"


def first(count: int, of: str) -> str:
    """Return what to add to a title if only the first items were evaluated: `, first 5 problems`."""
    return f", first {count} {of}s" if count > 1 else f", first {of}" if count else ""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return a Markdown table whose columns after the first are aligned to the right."""
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return [*lines, *(f"| {' | '.join(_cell(c) for c in row)} |" for row in rows)]


def walls_sentence(data: Mapping[str, Any]) -> str:
    """Return the sentence that says what confined the programs of an evaluation."""
    return f"Judged behind {data['walls']['level']}: " + "; ".join(data["walls"]["protection"].values()) + "."


def _cell(value: object) -> str:
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def save_picture(path: Path, draw: Draw) -> bool:
    """Draw into a PNG file, without a display and matplotlib's global state; return False without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        path.unlink(missing_ok=True)  # an earlier picture would show other figures
        return False
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    partial = path.with_name(path.name + ".partial")
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(partial, metadata={"Software": None})
    partial.replace(path)
    return True
