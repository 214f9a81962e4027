"""Reports: their files, with and without what draws pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from codegen_lsp.evals.benchmarks import humaneval, infilling, mtpb, replay
from codegen_lsp.evals.benchmarks.infilling import Task
from codegen_lsp.evals.benchmarks.mtpb import Case
from codegen_lsp.evals.benchmarks.replay import Tally
from codegen_lsp.evals.harness.records import Folder

WALLS = {"level": "x", "protection": {"files": "y"}}
ROW = {"text": "    return 1", "row": 0, "place": 0, "reason": None, "mean_logprob": -0.5}


def write(kind: str, folder: Path) -> dict[str, Any]:
    """Write the report of a finished evaluation of one problem."""
    about: dict[str, Any] = {"model": "fake", "walls": WALLS}
    with Folder(folder, {}) as opened:
        if kind == "humaneval":
            settings = humaneval.HumanEvalSettings(samples=2, temperatures=(0.2,), problems=1)
            about["settings"] = humaneval.settings_of(settings)
            return humaneval.write_report(opened, {0.2: {"H/0": (2, 1)}}, about)
        if kind == "mtpb":
            about["settings"] = mtpb.settings_of(
                mtpb.MtpbSettings(samples=1, problems=1), Path("my-mtpb.jsonl")
            )
            verdicts = [{"id": "1", "case": 0, "index": 0, "faithful": True, "repaired": True}]
            return mtpb.write_report(opened, verdicts, [Case("1", 0, "math", ("Print 1.",), 1)], about)
        if kind == "infilling":
            about["settings"] = infilling.settings_of(
                infilling.InfillingSettings(), Path("MultiLine.jsonl.gz")
            )
            record = {"raw": "", "rows": [ROW], "passed": dict.fromkeys(infilling.WAYS, True)}
            return infilling.write_report(
                opened, [record], [Task("S", "f", "", "", "    return 1\n", "")], about
            )
        about["settings"] = replay.settings_of(replay.ReplaySettings())
        tally = Tally("a/b.py", 10, 8, 10, 5, 1, 6, 0, 2, 10, [20.0, 30.0], 3.0, 27.0)
        return replay.write_report(opened, [tally], about)


KINDS = ("humaneval", "mtpb", "infilling", "replay")


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_without_matplotlib_is_finished_and_says_so(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [m for m in sys.modules if m.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (tmp_path / "report.png").write_bytes(b"of an earlier report")
    data = write(kind, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == data
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "There is no picture: matplotlib is not installed." in page
    assert "report.png" not in page
    assert not (tmp_path / "report.png").exists()


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("humaneval", "# HumanEval, first problem: fake"),
        ("mtpb", "# MTPB (my-mtpb.jsonl, first problem): fake"),
        ("infilling", "# Infilling (MultiLine.jsonl.gz): fake"),
        ("replay", "# Typing replay: fake"),
    ],
)
def test_a_report_is_titled_by_the_data_it_read(kind: str, title: str, tmp_path: Path) -> None:
    write(kind, tmp_path)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert page.splitlines()[0] == title
    assert "![The figures as a picture](report.png)" in page
