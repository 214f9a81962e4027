"""Evaluations that go on from a folder whose records were edited or damaged: one sentence, no traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codegen_lsp.evals.benchmarks import humaneval, infilling, mtpb, replay
from codegen_lsp.evals.harness.records import DataError, Folder


class Unused:
    """Stands for an engine, a judge or a server: a folder with wrong records is refused before one is used."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was used")


async def go_on(kind: str, path: Path) -> None:
    """Go on with an evaluation from the records in a folder."""
    unused: Any = Unused()
    with Folder(path, {}) as folder:
        if kind == "humaneval":
            settings = humaneval.HumanEvalSettings(samples=2, temperatures=(0.2,))
            await humaneval.evaluate(unused, unused, folder, settings, [], lambda *_: None)
        elif kind == "mtpb":
            await mtpb.evaluate(unused, unused, folder, mtpb.MtpbSettings(), [], lambda *_: None)
        elif kind == "infilling":
            await infilling.evaluate(unused, unused, folder, [], lambda *_: None)
        else:
            await replay.evaluate({}, folder, replay.ReplaySettings(), [], lambda *_: None)


SAMPLE = {"task_id": "H/0", "index": 0, "completion": "x"}
TALLY = {
    "path": "a",
    "baseline": 1,
    "pressed": 1,
    "asked": 1,
    "shown": 0,
    "accepted": 0,
    "accepted_characters": 0,
}
TALLY |= {"late": 0, "typos": 0, "changes": 1, "latencies": [1.0], "prefilled": None, "cached": 1.5}
TALLY |= {"typed_seconds": 1.0, "trace": [[0.5, 10, 2, 3]]}


@pytest.mark.parametrize(
    ("kind", "log", "record"),
    [
        ("humaneval", "samples-0.2", {"task_id": "H/0"}),
        ("humaneval", "samples-0.2", SAMPLE | {"index": "0"}),
        ("humaneval", "samples-0.2", SAMPLE | {"index": True}),
        ("humaneval", "samples-0.2", SAMPLE | {"index": 2}),
        ("humaneval", "samples-0.2", SAMPLE | {"index": -1}),
        ("humaneval", "samples-0.2", SAMPLE | {"task_id": []}),
        ("humaneval", "verdicts-0.2", SAMPLE | {"passed": "yes"}),
        ("mtpb", "samples", {"id": "1", "case": 0, "index": 0}),
        ("mtpb", "verdicts", {"id": "1", "case": 0, "index": 0, "faithful": 1, "repaired": True}),
        ("infilling", "lines", {"task_id": "S/0", "raw": "", "rows": [{"text": "x"}]}),
        ("infilling", "lines", {"task_id": "S/0", "raw": "", "rows": [3]}),
        ("infilling", "lines", {"task_id": "S/0", "raw": None, "rows": []}),
        ("infilling", "verdicts", {"task_id": "S/0", "passed": {"raw": True}}),
        ("replay", "files", {"file": "a", "tally": {}}),
        ("replay", "files", {"file": "a", "tally": TALLY | {"shown": "many"}}),
        ("replay", "files", {"file": "a", "tally": TALLY | {"more": 1}}),
    ],
)
async def test_a_wrong_record_is_one_sentence(kind: str, log: str, record: Any, tmp_path: Path) -> None:
    (tmp_path / f"{log}.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=str(tmp_path)):
        await go_on(kind, tmp_path)


async def test_a_right_record_is_taken(tmp_path: Path) -> None:
    (tmp_path / "samples-0.2.jsonl").write_text(json.dumps(SAMPLE) + "\n", encoding="utf-8")
    (tmp_path / "files.jsonl").write_text(json.dumps({"file": "a", "tally": TALLY}) + "\n", encoding="utf-8")
    for kind in ("humaneval", "replay"):
        await go_on(kind, tmp_path)


@pytest.mark.parametrize("content", ["[" * 100_000, "{", "[1]", "\xff"])
def test_wrong_settings_are_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=r"settings\.json"):
        Folder(tmp_path, {})
