"""The points where lines of held-out files are cut: what models see, and what they should complete."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from codegen_lsp.nano.corpus.heldout import SEED, HeldOutFile


@dataclass(frozen=True, slots=True)
class Cut:
    """A point in a held-out text: the model sees `prefix` and should complete `target`, the rest of the line."""

    distribution: str
    path: str
    prefix: str
    target: str
    at_start: bool
    """True for a cut right after the indentation, False for a cut inside the line."""


def cut_points(files: Iterable[HeldOutFile], count: int, seed: int = SEED) -> list[Cut]:
    """Return `count` cuts, spread evenly over the distributions: half at a line's start, half inside the line."""
    lines: dict[str, list[tuple[HeldOutFile, int, str]]] = {}
    for file in files:
        offset = 0
        for line in file.text.split("\n"):
            if len(line.strip()) >= 2:
                lines.setdefault(file.distribution, []).append((file, offset, line))
            offset += len(line) + 1
    generator = random.Random(seed)
    orders = {name: generator.sample(items, len(items)) for name, items in sorted(lines.items())}
    cuts: list[Cut] = []
    while len(cuts) < count and any(orders.values()):
        for name in sorted(orders):
            if orders[name] and len(cuts) < count:
                cuts.append(
                    _cut(*orders[name].pop(), at_start=len(cuts) // len(orders) % 2 == 0, generator=generator)
                )
    return cuts


def _cut(file: HeldOutFile, offset: int, line: str, *, at_start: bool, generator: random.Random) -> Cut:
    indentation = len(line) - len(line.lstrip())
    column = indentation if at_start else generator.randrange(indentation + 1, len(line))
    return Cut(file.distribution, file.path, file.text[: offset + column], line[column:], at_start)
