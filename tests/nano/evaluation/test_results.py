"""Reports of evaluations become summaries beside the weights, and tables on the card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from codegen_lsp.evals.benchmarks import humaneval, infilling, mtpb, replay
from codegen_lsp.evals.benchmarks.infilling import Task
from codegen_lsp.evals.benchmarks.mtpb import Case
from codegen_lsp.evals.benchmarks.replay import Tally
from codegen_lsp.evals.harness.records import Folder
from codegen_lsp.nano import MODEL_DIR
from codegen_lsp.nano.evaluation.results import FOLDER, ResultsError, keep, weights
from codegen_lsp.nano.evaluation.tables import SEQUENCE, sections

WALLS = {"level": "namespaces", "protection": {"files": "none outside"}}
EXACT = {"text": "    return 1", "row": 0, "place": 0, "reason": None, "mean_logprob": -0.5}


def about(settings: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "nano", "server": "local", "version": "1", "settings": settings, "walls": WALLS} | more


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of four evaluations, each with the report that its own code writes."""
    root = tmp_path_factory.mktemp("runs")
    settings = humaneval.settings_of(humaneval.HumanEvalSettings(samples=10, temperatures=(0.2, 0.8)))
    with Folder(root / "humaneval", {}) as folder:
        counts = {0.2: {"H/0": (10, 1), "H/1": (10, 0)}, 0.8: {"H/0": (10, 0), "H/1": (10, 3)}}
        humaneval.write_report(folder, counts, about(settings))
    for turns in ("multi", "single"):
        kept = mtpb.settings_of(
            mtpb.MtpbSettings(samples=1, turns=turns, cases=1), Path("/secret/mtpb.jsonl")
        )  # type: ignore[arg-type]
        with Folder(root / f"mtpb-{turns}", {}) as folder:
            verdicts = [{"id": "1", "case": 0, "index": 0, "faithful": turns == "multi", "repaired": True}]
            mtpb.write_report(folder, verdicts, [Case("1", 0, "math", ("Print 1.",), 1)], about(kept))
    task = Task("S/0", "f", "def f():\n", "", "    return 1\n", "")
    record = {"task_id": "S/0", "raw": "    x", "rows": [EXACT]}
    record["passed"] = dict.fromkeys(infilling.WAYS, True)
    kept = infilling.settings_of(infilling.InfillingSettings(tasks=1), Path("/secret/infilling.jsonl"))
    with Folder(root / "infilling", {}) as folder:
        infilling.write_report(folder, [record], [task], about(kept))
    with Folder(root / "replay", {}) as folder:
        tally = Tally("httpx/_utils.py", 100, 80, 100, 50, 10, 60, 0, 2, 104, [20.0, 30.0], 300.0, 2700.0)
        replay.write_report(folder, [tally], about(replay.settings_of(replay.ReplaySettings())))
    with Folder(root / "replay-always", {}) as folder:
        tally = Tally("httpx/_utils.py", 100, 70, 100, 50, 10, 60, 0, 2, 104, [20.0, 30.0], 300.0, 2700.0)
        settings = replay.settings_of(replay.ReplaySettings()) | {"fill_in_the_middle": "always"}
        replay.write_report(folder, [tally], about(settings))
    return root


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model-00001-of-00001.safetensors").write_bytes(b"weights")
    return tmp_path


def test_nothing_measured_is_said(model: Path) -> None:
    text = sections(model)
    assert text.count("Not measured yet.") == 4
    assert SEQUENCE in text


def test_reports_become_summaries_and_tables(runs: Path, model: Path) -> None:
    written = keep(sorted(runs.iterdir()), model)
    assert sorted(path.name for path in written) == [
        "humaneval.json",
        "infilling.json",
        "mtpb-multi.json",
        "mtpb-single.json",
        "replay-always.json",
        "replay.json",
    ]
    for path in written:
        assert json.loads(path.read_text(encoding="utf-8"))["weights"] == weights(model)
        assert "/secret" not in path.read_text(encoding="utf-8")
        assert path.stat().st_size < 20_000
    text = sections(model)
    assert "Not measured" not in text
    assert "earlier weights" not in text
    assert "| temperature 0.2 | 5.00 (0.0 – 10.0) | 50.00 (0.0 – 100.0) | 1 of 20 |" in text
    assert "| multi-turn | 100.00 (100.0 – 100.0) | 100.00 (100.0 – 100.0) | 1 |" in text
    assert "| single-turn | 0.00 (0.0 – 0.0) | 100.00 (100.0 – 100.0) | 1 |" in text
    assert "**+100.00 points** of exact match" in text
    assert "| **all** | 20.0 % | 50.0 % | 20.0 % | 6.0 | 25 / 30 / 30 | 90.0 % |" in text
    assert "| all with `fillInTheMiddle: always` | 30.0 % | 50.0 % |" in text
    assert "by default it does as the row" not in text


def test_both_ways_to_ask_are_told_apart(runs: Path, model: Path) -> None:
    (path,) = keep([runs / "infilling"], model)
    summary = json.loads(path.read_text(encoding="utf-8"))
    summary["ways"]["left_to_right"] = summary["ways"]["server"]
    path.write_text(json.dumps(summary), encoding="utf-8")
    assert "by default it does as the row “the server, left to right”" in sections(model)


def test_figures_of_earlier_weights_are_called_so(runs: Path, model: Path) -> None:
    keep([runs / "replay"], model)
    (model / "model-00001-of-00001.safetensors").write_bytes(b"better weights")
    assert sections(model).count("Measured on earlier weights") == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": "350M-mono"}, "not about the bundled model"),
        ({"server": "http://127.0.0.1:1"}, "not about the bundled model"),
        ({"evaluation": "chess"}, "expected a report of humaneval, mtpb, infilling, replay, got chess"),
    ],
)
def test_other_reports_are_refused(
    runs: Path, model: Path, tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    shutil.copytree(runs / "replay", tmp_path / "other")
    report = json.loads((runs / "replay" / "report.json").read_text(encoding="utf-8"))
    (tmp_path / "other" / "report.json").write_text(json.dumps(report | change), encoding="utf-8")
    with pytest.raises(ResultsError, match=sentence):
        keep([tmp_path / "other"], model)
    assert not (model / FOLDER).exists()


def test_an_unfinished_evaluation_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    with pytest.raises(ResultsError, match="is the evaluation finished"):
        keep([tmp_path / "begun"], model)


def test_the_shipped_card_has_the_benchmarks_as_they_lie_beside_it() -> None:
    card = (MODEL_DIR / "README.md").read_text(encoding="utf-8")
    assert sections(MODEL_DIR) in card, "run: python -m codegen_lsp.nano card"
    for path in (MODEL_DIR / FOLDER).glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["weights"] == weights(MODEL_DIR), path.name
        assert path.stat().st_size < 20_000
