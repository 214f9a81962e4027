"""The tasks of single-line infilling, and the settings of an evaluation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codegen_lsp.evals.harness.records import DataError, EvaluationError, read_lines
from codegen_lsp.lsp.code.cursor import Cursor


@dataclass(frozen=True)
class Task:
    """One line to fill in."""

    task_id: str
    entry_point: str
    prefix: str
    suffix: str
    line: str
    """The removed line, with its line end."""
    test: str

    def program(self, line: str) -> str:
        """Return the program that judges a line."""
        return f"{self.prefix}{line}\n{self.suffix}\n{self.test}\ncheck({self.entry_point})"

    def cursor(self) -> Cursor:
        """Return the cursor of a person who asks: on the empty line that is to be filled."""
        return Cursor(
            uri=f"file:///{self.task_id}.py",
            language="python",
            version=None,
            line=self.prefix.count("\n"),
            prefix=self.prefix,
            suffix="\n" + self.suffix,
        )


@dataclass(frozen=True)
class InfillingSettings:
    """Settings of one evaluation; the same settings give the same lines."""

    rows: int = 3
    """The language server's option `candidates`; it decodes two more rows, since a person asks by hand."""
    max_tokens: int = 64
    seconds: float = 3.0
    """Wall-clock limit of one program."""
    tasks: int = 0
    """Number of tasks, evenly spread over the benchmark; 0 for all."""

    def __post_init__(self) -> None:
        if self.rows < 1 or self.max_tokens < 1 or self.seconds <= 0 or self.tasks < 0:
            raise EvaluationError("rows, tokens and seconds must be positive")


def read_tasks(path: Path, count: int = 0) -> list[Task]:
    """Return the tasks in the benchmark's file.

    Raises:
        DataError: the file can't be read, or is not the benchmark's.
    """
    names = ("task_id", "entry_point", "prompt", "suffix", "canonical_solution", "test")
    tasks = []
    for entry in read_lines(path):
        values = [entry.get(name) for name in names]
        if not all(isinstance(value, str) for value in values):
            raise DataError(f"{path} is not the single-line infilling benchmark: a task lacks {names}")
        tasks.append(Task(*(str(value) for value in values)))
    if not tasks:
        raise DataError(f"{path} holds no task")
    if 0 < count < len(tasks):
        tasks = [tasks[i * len(tasks) // count] for i in range(count)]
    return tasks


def settings_of(settings: InfillingSettings, data: Path) -> dict[str, Any]:
    """Return the settings as the evaluation's folder stores them."""
    return asdict(settings) | {"data": data.name}
