"""What models are measured on: fixed lists of held-out files, and the points where their lines are cut.

Knows files and text; knows nothing about models.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codegen_lsp.nano.corpus import sources
from codegen_lsp.nano.corpus.corpus import held_out_text, rejection

LIST = Path(__file__).with_name("held_out.json")
"""The files of each held-out distribution that are measured, with the version and hash that they had."""

BUDGET = 100_000
"""Characters for each distribution: files are taken in a shuffled order until they exceed it.

Files that the corpus would not take either, for they are tables or scraps, are not measured.
"""

FILE_CAP = 50_000
"""Characters of one file that count; the rest of a longer file is left out."""

SEED = 20220325

FUNCTIONS = 3
TYPED = 8000
"""Bytes of a file that is good to type from: long enough for functions, short enough for the model's context."""


@dataclass(frozen=True, slots=True)
class HeldOutFile:
    """A held-out text as models see it, at most `FILE_CAP` characters, whole lines."""

    distribution: str
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A point in a held-out text: the model sees `prefix` and is asked for `rest`, the rest of its line."""

    distribution: str
    path: str
    prefix: str
    rest: str
    at_start: bool
    """Whether the cut is at the line's start, after the indentation; otherwise it is inside the line."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """All that is measured, and what differs from the committed list on this machine."""

    files: tuple[HeldOutFile, ...]
    notes: tuple[str, ...]

    def first(self, count: int) -> HeldOut:
        """The first `count` files of each distribution."""
        taken: dict[str, list[HeldOutFile]] = {}
        for file in self.files:
            taken.setdefault(file.distribution, []).append(file)
        return HeldOut(tuple(file for files in taken.values() for file in files[:count]), self.notes)


def choose() -> dict[str, dict[str, object]]:
    """A new list: per distribution its version and, by path, the first digits of each file's hash."""
    chosen: dict[str, dict[str, object]] = {}
    for distribution in sources.held_out():
        files, used = {}, 0
        order = list(distribution.files)
        random.Random(f"{SEED}/{distribution.name}").shuffle(order)
        for name, path in order:
            text = held_out_text(path)
            if text is None or rejection(text) is not None or used > BUDGET:
                continue
            used += min(len(text), FILE_CAP)
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        chosen[distribution.name] = {"version": distribution.version, "files": dict(sorted(files.items()))}
    return chosen


def write_list(path: Path = LIST) -> None:
    """Write the list anew from what is installed."""
    path.write_text(json.dumps(choose(), indent=1) + "\n", encoding="utf-8")


def load(path: Path = LIST) -> HeldOut:
    """The listed files as they are installed here, and a note on each that is missing or changed."""
    listed = json.loads(path.read_text(encoding="utf-8"))
    installed = {distribution.name: distribution for distribution in sources.held_out()}
    files: list[HeldOutFile] = []
    notes: list[str] = []
    for name, entry in listed.items():
        distribution = installed.get(name)
        if distribution is None:
            notes.append(f"{name} is not installed: left out")
            continue
        paths = dict(distribution.files)
        changed = 0
        for file, digest in entry["files"].items():
            source = paths.get(file)
            text = held_out_text(source) if source else None
            if source is None or text is None:
                notes.append(f"{name}: {file} is missing: left out")
                continue
            changed += hashlib.sha256(source.read_bytes()).hexdigest()[:16] != digest
            files.append(HeldOutFile(name, file, capped(text)))
        if changed:
            notes.append(
                f"{name} {distribution.version}: {changed} files differ from the listed {entry['version']}"
            )
    return HeldOut(tuple(files), tuple(notes))


def paths(count: int, path: Path = LIST) -> list[Path]:
    """Where `count` of the listed files are installed: in turn one of each distribution, the middle-sized first.

    Only files with functions, of which there is something to type.
    """
    listed = json.loads(path.read_text(encoding="utf-8"))
    installed = {d.name: dict(d.files) for d in sources.held_out()}
    found: list[list[Path]] = []
    for name, entry in sorted(listed.items()):
        known = [installed[name][f] for f in entry["files"] if f in installed.get(name, {})]
        known = [p for p in known if p.read_text(encoding="utf-8").count("def ") >= FUNCTIONS]
        found.append(sorted(known, key=lambda p: (abs(p.stat().st_size - TYPED), p.name)))
    turns = [
        files[turn] for turn in range(max(map(len, found), default=0)) for files in found if turn < len(files)
    ]
    return turns[:count]


def capped(text: str, cap: int = FILE_CAP) -> str:
    """The first whole lines of a text, at most `cap` characters."""
    return text if len(text) <= cap else text[: text.rfind("\n", 0, cap) + 1]


def load_all() -> HeldOut:
    """Every file of the held-out distributions that is installed, whole, but for tables and scraps."""
    files = [
        HeldOutFile(distribution.name, name, text)
        for distribution in sources.held_out()
        for name, path in distribution.files
        if (text := held_out_text(path)) is not None and rejection(text) is None
    ]
    return HeldOut(tuple(files), ())


def cut_points(files: Iterable[HeldOutFile], count: int, seed: int = SEED) -> list[Cut]:
    """`count` cuts, spread evenly over the distributions: half at a line's start, half inside the line."""
    lines: dict[str, list[tuple[HeldOutFile, int, str]]] = {}
    for file in files:
        offset = 0
        for line in file.text.split("\n"):
            if len(line.strip()) >= 2:
                lines.setdefault(file.distribution, []).append((file, offset, line))
            offset += len(line) + 1
    generator = random.Random(seed)
    orders = {name: generator.sample(found, len(found)) for name, found in sorted(lines.items())}
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
