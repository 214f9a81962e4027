"""The tasks of infilling, and the settings of an evaluation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from codegen_lsp.evals.harness.records import DataError, read_lines
from codegen_lsp.evals.harness.settings import JudgedSettings
from codegen_lsp.lsp.code.cursor import Cursor

Kind = Literal["line", "lines", "span"]


@dataclass(frozen=True)
class Task:
    """A gap to fill in: a line, some lines, or a span within lines."""

    task_id: str
    entry_point: str
    prefix: str
    suffix: str
    line: str
    """The removed text, with its line end if it has one."""
    test: str

    @property
    def kind(self) -> Kind:
        """What was removed."""
        if not self.line.endswith("\n") or (self.prefix and not self.prefix.endswith("\n")):
            return "span"
        return "line" if self.line.count("\n") == 1 else "lines"

    @property
    def solution(self) -> str:
        """The removed text as it stands between the prefix and `after`."""
        return self.line if self.kind == "span" else self.line.rstrip("\n")

    @property
    def after(self) -> str:
        """The text after the cursor of a person who asks: on an empty line, except for a span."""
        return self.suffix if self.kind == "span" else "\n" + self.suffix

    def program(self, text: str) -> str:
        """Return the program that judges a text in the gap."""
        return f"{self.prefix}{text}{self.after}\n{self.test}\ncheck({self.entry_point})"

    def first(self, text: str) -> str:
        """Return the part of a continuation that fills the gap: the first line of those with text, or everything."""
        if self.kind != "line":
            return text
        return next((line for line in text.split("\n") if line.strip()), "")

    def cursor(self) -> Cursor:
        """Return the cursor of a person who asks."""
        return Cursor(
            uri=f"file:///{self.task_id}.py",
            language="python",
            version=None,
            line=self.prefix.count("\n"),
            prefix=self.prefix,
            suffix=self.after,
        )


@dataclass(frozen=True, kw_only=True)
class InfillingSettings(JudgedSettings):
    """Settings of one evaluation; the same settings give the same lines."""

    rows: int = 3
    """The language server's option `candidates`; an engine of this project decodes seven more rows, since a
    person asks by hand."""
    max_tokens: int = 64
    tasks: int = 0
    """Number of tasks, evenly spread over the benchmark; 0 for all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(1, "rows", "max_tokens")
        self.require(0, "tasks")


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
            raise DataError(
                f"{path} is not the single-line infilling benchmark, or a set like it: a task lacks {names}"
            )
        tasks.append(Task(*(str(value) for value in values)))
    if not tasks:
        raise DataError(f"{path} holds no task")
    if 0 < count < len(tasks):
        tasks = [tasks[i * len(tasks) // count] for i in range(count)]
    return tasks


def settings_of(settings: InfillingSettings, data: Path) -> dict[str, Any]:
    """Return the settings as the evaluation's folder stores them."""
    return asdict(settings) | {"data": data.name}
