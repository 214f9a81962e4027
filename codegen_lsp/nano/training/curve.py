"""The progress of a training: its log, a progress bar while it runs, and a picture of its loss.

Knows the numbers of each step, no weights and no data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LogLine = TypeVar("LogLine")

LogEntry = dict[str, float]
"""One line of `log.jsonl`: step, tokens, seconds, loss (nats per token), rate, tokens_per_second."""


@dataclass(slots=True)
class _Averages:
    """Moving averages of the loss and of the tokens per second."""

    loss: float
    speed: float

    def add(self, loss: float, speed: float) -> None:
        self.loss = 0.95 * self.loss + 0.05 * loss
        self.speed = 0.9 * self.speed + 0.1 * speed


class ProgressBar:
    """A line on the terminal with the share of the training that is done, the loss and the speed."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(
                "{task.percentage:>5.1f} %  loss {task.fields[loss]:.3f}  {task.fields[speed]:,.0f} tokens/s"
            ),
            TimeRemainingColumn(),
        )
        self._task = self._bar.add_task("nano", total=1.0, loss=0.0, speed=0.0)
        self._averages: _Averages | None = None

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, progress: float, loss: float, speed: float) -> None:
        """Show the state after a step; `progress` is in [0, 1], `speed` in tokens per second."""
        if self._averages is None:
            self._averages = _Averages(loss, speed)
        else:
            self._averages.add(loss, speed)
        self._bar.update(self._task, completed=progress, loss=self._averages.loss, speed=self._averages.speed)


def thinned(lines: Sequence[LogLine], limit: int) -> list[LogLine]:
    """Return at most `limit` (at least 2) lines of a log: the first, the last, and lines at even distances between.

    Each line stays as it was measured, so that a curve of those that stay goes through points of the whole curve.
    """
    distance = max(1, math.ceil((len(lines) - 1) / (limit - 1)))
    return [*lines[:-1:distance], *lines[-1:]]


def draw(history: list[LogEntry], path: Path) -> None:
    """Draw the loss over the number of tokens, with the learning rate below it, into a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(
        2, 1, figsize=(8, 5), sharex=True, height_ratios=(4, 1), layout="constrained"
    )
    tokens = [entry["tokens"] / 1e6 for entry in history]
    losses = [entry["loss"] for entry in history]
    smooth = losses[:1]
    for loss in losses[1:]:
        smooth.append(0.98 * smooth[-1] + 0.02 * loss)
    upper.plot(tokens, losses, color="0.8", linewidth=0.5)
    upper.plot(tokens, smooth, color="tab:blue", linewidth=1.5)
    upper.set_ylabel("loss, nats per token")
    upper.grid(alpha=0.3)
    lower.plot(tokens, [entry["rate"] for entry in history], color="tab:orange")
    lower.set_ylabel("learning rate")
    lower.set_xlabel("million tokens seen")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
