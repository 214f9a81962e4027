"""What models are measured on: a fixed list of held-out files.

Knows files and text, no models.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

from codegen_lsp.nano.corpus import sources
from codegen_lsp.nano.corpus.texts import held_out_text, rejection


@dataclass(frozen=True, slots=True)
class HeldOutFile:
    """A held-out text as models see it: whole lines, at most `FILE_CAP` characters."""

    distribution: str
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The files to measure, and notes on the listed files that are missing or changed on this machine."""

    files: tuple[HeldOutFile, ...]
    notes: tuple[str, ...]

    def first(self, count: int) -> HeldOut:
        """Return only the first `count` files of each distribution."""
        taken: dict[str, list[HeldOutFile]] = {}
        for file in self.files:
            taken.setdefault(file.distribution, []).append(file)
        return HeldOut(tuple(file for files in taken.values() for file in files[:count]), self.notes)


LIST = Path(__file__).with_name("held_out.json")
"""The measured files of each held-out distribution, with the versions and hashes they had."""

BUDGET = 100_000
"""Characters per distribution: files are added in a shuffled order until their sum exceeds it.

Tables, tiny files and everything else that the corpus rejects are not measured either.
"""

FILE_CAP = 50_000
"""Maximum number of characters of one file; the end of a longer file is ignored."""

SEED = 20220325


def choose() -> dict[str, dict[str, object]]:
    """Choose files for a new list: by distribution, its version and the first digits of each file's hash."""
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
    """Write a new list of the installed held-out files."""
    path.write_text(json.dumps(choose(), indent=1) + "\n", encoding="utf-8")


def load(path: Path = LIST) -> HeldOut:
    """Return the listed files as installed on this machine, with a note on each missing or changed file."""
    listed = json.loads(path.read_text(encoding="utf-8"))
    installed = {distribution.name: distribution for distribution in sources.held_out()}
    files: list[HeldOutFile] = []
    notes: list[str] = []
    for name, entry in listed.items():
        distribution = installed.get(name)
        if distribution is None:
            notes.append(f"{name} is not installed and is left out")
            continue
        paths = dict(distribution.files)
        changed = 0
        for file, digest in entry["files"].items():
            source = paths.get(file)
            text = held_out_text(source) if source else None
            if source is None or text is None:
                notes.append(f"{name}: {file} is missing and is left out")
                continue
            changed += hashlib.sha256(source.read_bytes()).hexdigest()[:16] != digest
            files.append(HeldOutFile(name, file, capped(text)))
        if changed:
            notes.append(
                f"{name} {distribution.version}: {changed} files differ from the listed version {entry['version']}"
            )
    return HeldOut(tuple(files), tuple(notes))


FUNCTIONS = 3
"""Minimum number of functions in a file for the typing replay."""

TYPED = 8000
"""Preferred size in bytes of a file for the typing replay: it has functions, and fits into the model's context."""


def paths(count: int, path: Path = LIST) -> list[Path]:
    """Return the paths of `count` listed files: one of each distribution in turn, sizes close to `TYPED` first.

    Only files with at least `FUNCTIONS` functions, since the typing replay types their bodies.
    """
    listed = json.loads(path.read_text(encoding="utf-8"))
    installed = {d.name: dict(d.files) for d in sources.held_out()}
    choices: list[list[Path]] = []
    for name, entry in sorted(listed.items()):
        files = [installed[name][f] for f in entry["files"] if f in installed.get(name, {})]
        files = [p for p in files if p.read_text(encoding="utf-8").count("def ") >= FUNCTIONS]
        choices.append(sorted(files, key=lambda p: (abs(p.stat().st_size - TYPED), p.name)))
    turns = range(max(map(len, choices), default=0))
    return [files[turn] for turn in turns for files in choices if turn < len(files)][:count]


def capped(text: str, cap: int = FILE_CAP) -> str:
    """Return the first whole lines of a text, at most `cap` characters."""
    return text if len(text) <= cap else text[: text.rfind("\n", 0, cap) + 1]


def load_all() -> HeldOut:
    """Return all installed held-out files, uncapped, except those that the corpus would reject."""
    files = [
        HeldOutFile(distribution.name, name, text)
        for distribution in sources.held_out()
        for name, path in distribution.files
        if (text := held_out_text(path)) is not None and rejection(text) is None
    ]
    return HeldOut(tuple(files), ())
