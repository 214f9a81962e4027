"""The tasks of the evaluation, and its settings."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from codegen_lsp.evals.benchmarks.crossfile.stubbing import Marked, marked_places, sources_of
from codegen_lsp.evals.harness.files import read_text
from codegen_lsp.evals.harness.records import DataError, EvaluationError, Folder
from codegen_lsp.evals.harness.retrying_client import ReportProgress
from codegen_lsp.lsp.code.cursor import Cursor, at_offset

PER_FILE = 12
"""Maximum number of tasks of one file, so that a file full of such lines doesn't decide the result."""
OPEN_FILES = 8
"""Number of files that count as open beside the current one."""
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class CrossfileTask:
    """One line to complete from the cursor on."""

    task_id: str
    path: Path
    root: Path
    """The folder that holds the package; it is the workspace folder."""
    line: int
    """0-based line of the cursor."""
    prefix: str
    rest: str
    """The true continuation of the line."""
    suffix: str
    open_files: tuple[str, ...]
    """Paths of the files that count as open."""

    @property
    def identifiers(self) -> list[str]:
        """The names in the rest of the line, in order."""
        return identifiers(self.rest)

    def cursor(self) -> Cursor:
        """Return the cursor after everything up to the task's place was typed."""
        text = self.prefix + self.suffix
        uri = self.path.as_uri()
        return at_offset(text, len(self.prefix), line=self.line, uri=uri, language="python")


def identifiers(line: str) -> list[str]:
    """Return the names in a line, in order, with repetitions."""
    return _IDENTIFIER.findall(line)


@dataclass(frozen=True)
class CrossfileSettings:
    """Settings of one evaluation; the same settings give the same lines."""

    tasks: int = 100
    """Number of tasks of each package."""
    share: float = 0.25
    """The language server's option `otherFilesShare`."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tasks < 1 or not 0 <= self.share <= 0.5:
            raise EvaluationError("at least one task and a share from 0 to 0.5 are required")


def find_tasks(
    packages: Sequence[Path], settings: CrossfileSettings, folder: Folder, progress: ReportProgress
) -> list[CrossfileTask]:
    """Return the tasks of some packages: lines that need another file of the same package.

    The type checker takes minutes for a large package, so the places that it marks are kept in the folder:

        OUT/places.jsonl      {"package", "digest", "places": [[path, line, column]]}

    Raises:
        DataError: a path is not a package, or no line of the packages needs another file.
        EvaluationError: mypy is not installed, or it failed.
    """
    tasks: list[CrossfileTask] = []
    progress(0, len(packages))
    for number, package in enumerate(packages, 1):
        tasks += _of_package(package.resolve(), settings, folder)
        progress(number, len(packages))
    if not tasks:
        raise DataError(
            "no line of these packages needs another file of its package; name packages with several modules"
        )
    return tasks


def _places(package: Path, folder: Folder) -> list[Marked]:
    """Return the places that need another file, from the folder if the package is still the same."""
    log = folder.log("places")
    modules = sources_of(package)
    sources = {str(path): text for path, text in modules.items()}
    digest = hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()
    for name, stored, places in log.rows(("package", str), ("digest", str), ("places", list)):
        if (name, stored) == (package.name, digest):
            if not all(_is_place(place, sources) for place in places):
                raise DataError(f"{log.path} was edited: a place is not in {name}; use another --out")
            return [Marked(*place) for place in places]
    marked = marked_places(package, modules)
    log.append({"package": package.name, "digest": digest, "places": [astuple(place) for place in marked]})
    return marked


def _is_place(place: object, sources: Mapping[str, str]) -> bool:
    if not isinstance(place, list) or [type(part) for part in place] != [str, int, int]:
        return False
    path, line, column = place
    lines = sources.get(path, "").split("\n")
    return bool(0 <= line < len(lines) and 0 <= column <= len(lines[line]))


def _of_package(package: Path, settings: CrossfileSettings, folder: Folder) -> list[CrossfileTask]:
    source = random.Random(f"{settings.seed}:{package.name}")
    by_file: dict[str, list[CrossfileTask]] = defaultdict(list)
    lines: set[tuple[str, int]] = set()
    for place in _places(package, folder):
        if (place.path, place.line) not in lines:
            lines.add((place.path, place.line))
            by_file[place.path].append(_task(package.parent, place.path, place.line, place.column, source))
    chosen: list[CrossfileTask] = []
    for tasks in by_file.values():
        good = [task for task in tasks if task.identifiers and len(task.rest) >= 3]
        source.shuffle(good)
        chosen += good[:PER_FILE]
    source.shuffle(chosen)
    return sorted(chosen[: settings.tasks], key=lambda task: task.task_id)


def _task(root: Path, name: str, line: int, column: int, source: random.Random) -> CrossfileTask:
    path = root / name
    lines = read_text(path).split("\n")
    text = lines[line]
    above, below = lines[:line], lines[line + 1 :]
    others = sorted(str(file) for file in path.parent.glob("*.py") if file != path)
    opened = tuple(source.sample(others, min(OPEN_FILES, len(others))))
    return CrossfileTask(
        task_id=f"{name}:{line + 1}",
        path=path,
        root=root,
        line=line,
        prefix="\n".join([*above, text[:column]]),
        rest=text[column:].rstrip(),
        suffix="\n".join(["", *below]),
        open_files=opened,
    )


def settings_of(settings: CrossfileSettings, packages: Sequence[Path]) -> dict[str, Any]:
    """Return the settings as the evaluation's folder stores them."""
    return asdict(settings) | {"packages": [package.name for package in packages]}
