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
FILLING_WAYS = ("fill", "left_to_right")
"""Ways of a model that fills in the middle: alone with the suffix, and the server without it."""
ROW = frozenset(("text", "row", "place", "reason", "mean_logprob"))
"""Keys of a row of the log `lines`."""
AT_ONCE = 16
"""Tasks in work at the same time."""


def choices(record: Mapping[str, Any], task: Task) -> dict[str, str]:
    """Return what each way fills in for a task, from its record."""
    lines = {"raw": record["raw"], **_of_rows(record["rows"], task)}
    if "fill" in record:
        left_to_right = _of_rows(record["left_to_right"], task)
        lines |= {"fill": record["fill"], "left_to_right": left_to_right["server"]}
    return lines


def _of_rows(entries: Sequence[Mapping[str, Any]], task: Task) -> dict[str, str]:
    rows = [r for r in entries if r["reason"] in (None, "duplicate")]
    by_place = sorted((r for r in rows if r["place"] is not None), key=lambda r: r["place"])
    by_mean = sorted(rows, key=lambda r: -(r["mean_logprob"] if r["mean_logprob"] is not None else -1e9))
    first = [r for r in rows if r["row"] == 0]
    orders = {"prompt": first, "mean": by_mean, "server": by_place}
    return {way: row_text(order[0], task) if order else "" for way, order in orders.items()}


def row_text(row: Mapping[str, Any], task: Task) -> str:
    """Return what a row of the server fills in."""
    text: str = row["text"]
    return text.split("\n")[0] if task.kind == "line" else text


def _check(log: Log, entries: Sequence[object], keys: Set[str]) -> None:
    """Raise DataError if an entry of a log is not an object with these keys; the log was edited."""
    if not all(isinstance(entry, dict) and keys <= entry.keys() for entry in entries):
        raise DataError(f"{log.path} holds an entry without {', '.join(sorted(keys))}; use another --out")


def is_exact(line: str, task: Task) -> bool:
    """Return whether a text is the removed one, apart from white space at its end."""
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
        OUT/fills.jsonl       {"task_id", "fill", "left_to_right"}, for a model that fills in the middle
        OUT/verdicts.jsonl    {"task_id", "passed": {way: bool}}

    Raises:
        WireError: the engine refuses, or does not recover; finished work is in the folder.
        SandboxError: the sandbox can't confine the programs.
    """
    lines, verdicts = folder.log("lines"), folder.log("verdicts")
    fields = ("task_id", str), ("raw", str), ("rows", list)
    filled = {name: {"task_id": name, "raw": raw, "rows": rows} for name, raw, rows in lines.rows(*fields)}
    judged = dict(verdicts.rows(("task_id", str), ("passed", dict)))
    fills = folder.log("fills")
    both = {
        name: {"fill": fill, "left_to_right": rows}
        for name, fill, rows in fills.rows(("task_id", str), ("fill", str), ("left_to_right", list))
    }
    _check(lines, [row for record in filled.values() for row in record["rows"]], ROW)
    _check(verdicts, list(judged.values()), frozenset(WAYS))
    progress(len(judged), len(tasks))

    async def fill_and_judge(task: Task) -> None:
        if task.task_id not in filled:
            raw = await filler.raw(task)
            record = {"task_id": task.task_id, "raw": raw, "rows": await filler.server(task)}
            lines.append(record)
            filled[task.task_id] = record
        if filler.fills and task.task_id not in both:
            pair = {"fill": await filler.fill(task), "left_to_right": await filler.left_to_right(task)}
            fills.append({"task_id": task.task_id, **pair})
            both[task.task_id] = pair
        passed = {}
        record = filled[task.task_id] | both.get(task.task_id, {})
        for way, line in choices(record, task).items():
            passed[way] = (await judges.run(task.program(line))).passed
        verdicts.append({"task_id": task.task_id, "passed": passed})
        judged[task.task_id] = passed
        progress(len(judged), len(tasks))

    missing = [task for task in tasks if task.task_id not in judged]
    for start in range(0, len(missing), AT_ONCE):
        await together(fill_and_judge(task) for task in missing[start : start + AT_ONCE])
    return [{**filled[t.task_id], **both.get(t.task_id, {}), "passed": judged[t.task_id]} for t in tasks]
