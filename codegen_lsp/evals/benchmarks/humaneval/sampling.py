"""Draw HumanEval samples and judge them, going on from what the evaluation's folder holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codegen_lsp.evals.benchmarks.humaneval.problems import HumanEvalSettings, Problem
from codegen_lsp.evals.harness.judging import Judges
from codegen_lsp.evals.harness.records import DataError, Folder, Log
from codegen_lsp.evals.harness.retrying_client import ReportProgress, RetryingClient, seed_of, together
from codegen_lsp.evals.harness.truncation import CODEX_STOPS, truncate_function
from codegen_lsp.wire.errors import RequestError, is_too_long
from codegen_lsp.wire.requests import CompletionRequest


async def evaluate(
    client: RetryingClient,
    judges: Judges,
    folder: Folder,
    settings: HumanEvalSettings,
    problems: Sequence[Problem],
    progress: ReportProgress,
) -> dict[float, dict[str, tuple[int, int]]]:
    """Draw and judge what the folder doesn't hold yet; return (samples, passed) by temperature and problem.

    Raises:
        WireError: the engine refuses, or does not recover; finished work is in the folder.
        SandboxError: the sandbox can't confine the programs.
    """
    run = _Run(client, judges, folder, settings, progress, len(problems))
    for temperature in settings.temperatures:
        await together(run.problem(problem, temperature) for problem in problems)
    return {t: run.counts(t, problems) for t in settings.temperatures}


@dataclass
class _Run:
    """The state of one evaluation: what is drawn and judged, in memory and in the folder."""

    client: RetryingClient
    judges: Judges
    folder: Folder
    settings: HumanEvalSettings
    progress: ReportProgress
    problems: int

    def __post_init__(self) -> None:
        self.samples: dict[tuple[float, str], dict[int, str]] = defaultdict(dict)
        self.passed: dict[tuple[float, str], dict[int, bool]] = defaultdict(dict)
        for temperature in self.settings.temperatures:
            log = self.folder.log(f"samples-{temperature:g}")
            for task_id, index, completion in log.rows(("task_id", str), ("index", int), ("completion", str)):
                self._check(log, index)
                self.samples[temperature, task_id][index] = completion
            log = self.folder.log(f"verdicts-{temperature:g}")
            for task_id, index, passed in log.rows(("task_id", str), ("index", int), ("passed", bool)):
                self._check(log, index)
                self.passed[temperature, task_id][index] = passed
        self._tell()

    def _check(self, log: Log, index: int) -> None:
        if not 0 <= index < self.settings.samples:
            raise DataError(f"{log.path} holds a sample {index} of {self.settings.samples}; it was edited")

    def _tell(self) -> None:
        total = self.problems * self.settings.samples * len(self.settings.temperatures)
        self.progress(sum(map(len, self.passed.values())), total)

    async def problem(self, problem: Problem, temperature: float) -> None:
        """Draw and judge all samples of one problem at one temperature."""
        drawn = self.samples[temperature, problem.task_id]
        for start, count in _gaps(drawn, self.settings.samples):
            await self._draw(problem, temperature, start, count)
        judged = self.passed[temperature, problem.task_id]
        await together(self._judge(problem, temperature, i) for i in sorted(drawn.keys() - judged.keys()))

    async def _draw(self, problem: Problem, temperature: float, start: int, count: int) -> None:
        settings = self.settings
        request = CompletionRequest(
            prompts=(problem.prompt,),
            max_tokens=settings.max_tokens,
            temperature=temperature,
            top_p=settings.top_p,
            stop=CODEX_STOPS,
            seed=seed_of("humaneval", settings.seed, temperature, problem.task_id) + start,
        )
        try:
            choices = await self.client.samples(request, count)
            rows = [(truncate_function(c.text), c.finish_reason) for c in choices]
        except RequestError as error:
            if not is_too_long(error):
                raise
            rows = [("", None)] * count  # the prompt alone fills this model's context
        records: list[dict[str, Any]] = [
            {"task_id": problem.task_id, "completion": text, "index": start + i, "finish_reason": reason}
            for i, (text, reason) in enumerate(rows)
        ]
        self.folder.log(f"samples-{temperature:g}").append(*records)
        for record in records:
            self.samples[temperature, problem.task_id][record["index"]] = record["completion"]

    async def _judge(self, problem: Problem, temperature: float, index: int) -> None:
        completion = self.samples[temperature, problem.task_id][index]
        result = await self.judges.run(problem.program(completion))
        self.folder.log(f"verdicts-{temperature:g}").append(
            {
                "task_id": problem.task_id,
                "index": index,
                "passed": result.passed,
                "result": result.verdict(),
            }
        )
        self.passed[temperature, problem.task_id][index] = result.passed
        self._tell()

    def counts(self, temperature: float, problems: Sequence[Problem]) -> dict[str, tuple[int, int]]:
        """Return (judged samples, passed samples) of each problem."""
        verdicts = {p.task_id: self.passed[temperature, p.task_id].values() for p in problems}
        return {task: (len(judged), sum(judged)) for task, judged in verdicts.items()}


def _gaps(drawn: Mapping[int, object], count: int) -> list[tuple[int, int]]:
    """Return the runs of missing numbers below `count`, as (first, length)."""
    gaps: list[tuple[int, int]] = []
    for index in range(count):
        if index in drawn:
            continue
        if gaps and sum(gaps[-1]) == index:
            gaps[-1] = (gaps[-1][0], gaps[-1][1] + 1)
        else:
            gaps.append((index, 1))
    return gaps
