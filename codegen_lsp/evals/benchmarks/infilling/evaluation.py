"""Fill and judge all tasks, going on from what the evaluation's folder holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from codegen_lsp.evals.benchmarks.infilling.filling import Filler
from codegen_lsp.evals.benchmarks.infilling.tasks import Task
from codegen_lsp.evals.harness.judging import Judges
from codegen_lsp.evals.harness.records import DataError, Folder, Log
from codegen_lsp.evals.harness.retrying_client import ReportProgress, together

WAYS = ("raw", "prompt", "mean", "server")
ROW = frozenset(("text", "row", "place", "reason", "mean_logprob"))
"""Keys of a row of the log `lines`."""
AT_ONCE = 16
"""Tasks in work at the same time."""


def choices(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the line that each way fills in for a task, from its record."""
    rows = [r for r in record["rows"] if r["reason"] in (None, "duplicate")]
    by_place = sorted((r for r in rows if r["place"] is not None), key=lambda r: r["place"])
    by_mean = sorted(rows, key=lambda r: -(r["mean_logprob"] if r["mean_logprob"] is not None else -1e9))
    first = [r for r in rows if r["row"] == 0]
    lines = {"raw": record["raw"]}
    for way, order in (("prompt", first), ("mean", by_mean), ("server", by_place)):
        lines[way] = order[0]["text"].split("\n")[0] if order else ""
    return lines


def _check(log: Log, entries: Sequence[object], keys: Set[str]) -> None:
    """Raise DataError if an entry of a log is not an object with these keys; the log was edited."""
    if not all(isinstance(entry, dict) and keys <= entry.keys() for entry in entries):
        raise DataError(f"{log.path} holds an entry without {', '.join(sorted(keys))}; use another --out")


def is_exact(line: str, task: Task) -> bool:
    """Return whether a line is the removed one, apart from white space at its end."""
    return line.rstrip() == task.line.rstrip()


async def evaluate(
    filler: Filler,
    judges: Judges,
    folder: Folder,
    tasks: Sequence[Task],
    progress: ReportProgress,
) -> list[dict[str, Any]]:
    """Fill and judge what the folder doesn't hold yet; return a record for each task, with `passed` by way.

        OUT/lines.jsonl       {"task_id", "raw", "rows"}
        OUT/verdicts.jsonl    {"task_id", "passed": {way: bool}}

    Raises:
        WireError: the engine refuses, or does not recover; finished work is in the folder.
        SandboxError: the sandbox can't confine the programs.
    """
    lines, verdicts = folder.log("lines"), folder.log("verdicts")
    fields = ("task_id", str), ("raw", str), ("rows", list)
    filled = {name: {"task_id": name, "raw": raw, "rows": rows} for name, raw, rows in lines.rows(*fields)}
    judged = dict(verdicts.rows(("task_id", str), ("passed", dict)))
    _check(lines, [row for record in filled.values() for row in record["rows"]], ROW)
    _check(verdicts, list(judged.values()), frozenset(WAYS))
    progress(len(judged), len(tasks))

    async def fill_and_judge(task: Task) -> None:
        if task.task_id not in filled:
            raw = await filler.raw(task)
            record = {"task_id": task.task_id, "raw": raw, "rows": await filler.server(task)}
            lines.append(record)
            filled[task.task_id] = record
        passed = {}
        for way, line in choices(filled[task.task_id]).items():
            passed[way] = (await judges.run(task.program(line))).passed
        verdicts.append({"task_id": task.task_id, "passed": passed})
        judged[task.task_id] = passed
        progress(len(judged), len(tasks))

    missing = [task for task in tasks if task.task_id not in judged]
    for start in range(0, len(missing), AT_ONCE):
        await together(fill_and_judge(task) for task in missing[start : start + AT_ONCE])
    return [{**filled[t.task_id], "passed": judged[t.task_id]} for t in tasks]
