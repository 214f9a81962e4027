"""Complete all tasks in every way, going on from what the evaluation's folder holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from codegen_lsp.evals.benchmarks.crossfile.filling import LineCompleter
from codegen_lsp.evals.benchmarks.crossfile.tasks import CrossfileTask
from codegen_lsp.evals.harness.records import DataError, Folder
from codegen_lsp.evals.harness.retrying_client import ReportProgress
from codegen_lsp.lsp.prompts.others import OtherFiles

WAYS = ("none", "names", "imports", "similar", "both")
_KEYS = {"line": str, "ms": float, "tokens": int, "pieces": int}


async def evaluate(
    completer: LineCompleter, folder: Folder, tasks: Sequence[CrossfileTask], progress: ReportProgress
) -> list[dict[str, Any]]:
    """Complete what the folder doesn't hold yet; return a record for each task.

        OUT/lines.jsonl       {"task_id", "gather_ms", "ways": {way: {"line", "ms", "tokens", "pieces"}}}

    Raises:
        WireError: the engine refuses, or does not recover; finished work is in the folder.
        DataError: the folder's records are not of this evaluation.
    """
    log = folder.log("lines")
    rows = log.rows(("task_id", str), ("gather_ms", float), ("ways", dict))
    records = {name: {"task_id": name, "gather_ms": ms, "ways": ways} for name, ms, ways in rows}
    for record in records.values():
        _check(record["ways"], str(log.path))
    progress(len(records), len(tasks))
    for task in tasks:
        if task.task_id in records:
            continue
        gathered = await asyncio.to_thread(completer.gather, task)
        lines: list[tuple[OtherFiles, dict[str, Any]]] = []
        ways: dict[str, dict[str, Any]] = {}
        for (
            way,
            others,
        ) in gathered.others.items():  # ways with the same pieces and names have the same prompt
            line = next((line for before, line in lines if _are_same(before, others)), None)
            ways[way] = line if line is not None else await completer.complete(task, others)
            lines.append((others, ways[way]))
        record = {"task_id": task.task_id, "gather_ms": round(gathered.ms, 1), "ways": ways}
        log.append(record)
        records[task.task_id] = record
        progress(len(records), len(tasks))
    return [records[task.task_id] for task in tasks]


def _are_same(one: OtherFiles, other: OtherFiles) -> bool:
    return one.pieces == other.pieces and one.names is other.names


def _check(ways: object, path: str) -> None:
    """Raise DataError if a record's ways have another form; the log was edited."""
    is_right = isinstance(ways, dict) and ways.keys() == set(WAYS)
    is_right = is_right and all(
        isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in _KEYS.items())
        for entry in (ways.values() if isinstance(ways, dict) else ())
    )
    if not is_right:
        raise DataError(f"{path} holds a record without {', '.join(_KEYS)} for each way; use another --out")
