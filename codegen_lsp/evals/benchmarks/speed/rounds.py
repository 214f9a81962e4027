"""Measure all engines in turns, each in a process of its own, and keep every value that was measured."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from importlib import util
from pathlib import Path
from typing import Any

from codegen_lsp.evals.benchmarks.speed.values import (
    BITS_TOKENS,
    MACHINE,
    ContenderSpec,
    SpeedSettings,
    label,
    tasks,
)
from codegen_lsp.evals.harness.records import EvaluationError, Folder
from codegen_lsp.evals.harness.retrying_client import ReportProgress
from codegen_lsp.wire.child_process import NEUTRAL_FOLDER, safe_environment

ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
"""The threads of an engine must not spin while another one is measured."""


class Child:
    """The process of one engine."""

    def __init__(self, specification: dict[str, Any], log: Path) -> None:
        command = [sys.executable, "-P", "-m", "codegen_lsp.evals.benchmarks.speed.child"]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [*command, json.dumps(specification)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=NEUTRAL_FOLDER,
                env=safe_environment() | ENVIRONMENT,
                text=True,
            )

    def ask(self, task: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer to a task; without one, the first line, which says whether the engine is loaded."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if task is not None:
                self._process.stdin.write(json.dumps(task) + "\n")
                self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            return {"error": self._end()}
        return answer

    def _end(self) -> str:
        """Return how the process has ended, and end it if it hasn't."""
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return "its process answered something else"
        if code >= 0:
            return f"its process ended with {code}"
        advice = "; install it again from its source, for this processor" if code == -signal.SIGILL else ""
        return f"its process was ended by {signal.Signals(-code).name}{advice}"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                # A task may still be on its way to a process that has ended.
                with suppress(OSError):
                    pipe.close()


def measure(
    folder: Folder,
    settings: SpeedSettings,
    specs: list[ContenderSpec],
    text: list[int],
    report: ReportProgress,
) -> None:
    """Measure what the folder's logs do not hold yet.

    Raises:
        EvaluationError: the text has too few tokens for the settings.
    """
    longest = max(settings.tokens)
    if len(text) <= longest + settings.steps:
        raise EvaluationError(f"the text has {len(text)} tokens; {longest + settings.steps + 1} are required")
    log = folder.log("values")
    done = {(r["round"], r["engine"], r["task"]) for r in log.records}
    shared = asdict(settings) | {"text": text, "context": len(text), "folder": str(folder.path.resolve())}
    with _children(folder, specs, shared) as children:
        for number in range(settings.rounds):
            for spec, child in children.items():
                for name, task in _tasks_of(spec, settings, number):
                    if (number, spec.name, name) not in done:
                        answer = child.ask(task)
                        log.append({"round": number, "engine": spec.name, "task": name} | answer)
            report(number + 1, settings.rounds)


def _tasks_of(
    spec: ContenderSpec, settings: SpeedSettings, number: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    if spec.name == MACHINE:
        yield "bandwidth", {"task": "bandwidth"}
        return
    for task in tasks(settings):
        yield label(task), task
    if number == 0:
        yield "bits", {"task": "bits", "count": min(BITS_TOKENS, max(settings.tokens))}
        yield "memory", {"task": "memory"}


@contextmanager
def _children(
    folder: Folder, specs: list[ContenderSpec], shared: dict[str, Any]
) -> Iterator[dict[ContenderSpec, Child]]:
    """Load all engines that are installed, and record why the others don't take part."""
    log = folder.log("engines")
    log.records.clear()
    with ExitStack() as stack:
        children = {}
        for spec in specs:
            if spec.package and util.find_spec(spec.package) is None:
                log.append({"engine": spec.name, "error": f"{spec.package} is not installed"})
                continue
            child = Child(shared | asdict(spec), folder.path / "engines.log")
            stack.callback(child.close)
            answer = child.ask()
            log.append({"engine": spec.name} | answer)
            if "error" not in answer:
                children[spec] = child
        yield children
