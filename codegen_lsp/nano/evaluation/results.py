"""Summaries of nano's evaluations, which are kept beside its weights.

Knows the reports (`report.json`) that `codegen-lsp eval` writes. A summary has the figures for the card, but no
samples, benchmark data or paths. A hash identifies the weights that it was measured on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codegen_lsp.evals.harness.records import DataError, read_json
from codegen_lsp.wire.errors import CodegenError

FOLDER = "results"
"""Name of the folder with the summaries, beside the weights."""

ResultsReport = Mapping[str, Any]
"""A parsed report or summary."""


class ResultsError(CodegenError):
    """A report is missing or unfinished, or is not a report about nano."""


def weights(folder: Path) -> str:
    """Return the first digits of a hash of a checkpoint's weights.

    Raises:
        ResultsError: there are no weights in `folder`.
    """
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise ResultsError(f"no weights in {folder}")
    digest = hashlib.sha256()
    for shard in shards:
        digest.update(shard.read_bytes())
    return digest.hexdigest()[:16]


def keep(runs: Sequence[Path], model: Path, name: str = "nano") -> list[Path]:
    """Summarize the reports in the folders of evaluations, beside the weights, and return the files written.

    Raises:
        ResultsError: there is no report in a folder, or it is about another model.
    """
    digest = weights(model)
    written = []
    for run in runs:
        report = read_result(run / "report.json")
        _check(report, run, name)
        kind = report["evaluation"]
        summary = {
            "evaluation": kind,
            "weights": digest,
            "version": report["version"],
            "settings": report["settings"],
            **SUMMARIES[kind](report),
        }
        path = model / FOLDER / f"{kind}{_variant(report)}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def _variant(report: ResultsReport) -> str:
    """Return the end of a summary's name: there may be several of MTPB and of the typing replay."""
    kind, settings = report["evaluation"], report["settings"]
    if kind == "mtpb":
        return f"-{settings['turns']}"
    return "-always" if kind == "replay" and settings.get("fill_in_the_middle") == "always" else ""


def _check(report: ResultsReport, run: Path, name: str) -> None:
    if report.get("evaluation") not in SUMMARIES:
        raise ResultsError(
            f"{run / 'report.json'}: expected a report of {', '.join(SUMMARIES)}, got {report.get('evaluation')}"
        )
    if report.get("model") != name or report.get("server") != "local":
        raise ResultsError(
            f"{run} is about {report.get('model')} at {report.get('server')}, not about the bundled model"
        )


def read_result(path: Path) -> dict[str, Any]:
    """Read a report or a summary.

    Raises:
        ResultsError: the file is missing, or is not JSON.
    """
    try:
        return read_json(path)
    except DataError as error:
        raise ResultsError(f"{error}; is the evaluation finished?") from error


def _humaneval(report: ResultsReport) -> dict[str, Any]:
    tallies = report["problems"].items()
    passed = {t: sum(tally["passed"] for tally in problems.values()) for t, problems in tallies}
    drawn = {t: sum(tally["samples"] for tally in problems.values()) for t, problems in tallies}
    return {
        "pass@k": report["pass@k"],
        "temperatures": report["temperatures"],
        "problems": max((len(problems) for _, problems in tallies), default=0),
        "passed": passed,
        "samples": drawn,
    }


def _mtpb(report: ResultsReport) -> dict[str, Any]:
    return {name: report[name] for name in ("judge", "faithful", "repaired")}


def _infilling(report: ResultsReport) -> dict[str, Any]:
    return {name: report[name] for name in ("tasks", "ways", "gain_exact_match", "gain_of_each_part")}


_TYPING = (
    "keystrokes_saved",
    "shown_rate",
    "accept_rate",
    "characters_per_accept",
    "latency_ms",
    "prefilled_per_keystroke",
    "cache_hit_rate",
    "baseline",
    "accepted",
)


def _replay(report: ResultsReport) -> dict[str, Any]:
    files = {name: {key: tally[key] for key in _TYPING} for name, tally in report["by_file"].items()}
    return {"files": report["files"], **{key: report[key] for key in _TYPING}, "by_file": files}


SUMMARIES: dict[str, Callable[[ResultsReport], dict[str, Any]]] = {
    "humaneval": _humaneval,
    "mtpb": _mtpb,
    "infilling": _infilling,
    "replay": _replay,
}
