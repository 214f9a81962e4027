"""What the evaluation commands found of nano, kept beside its weights, and as tables for its card.

Knows the reports (`report.json`) that `codegen-lsp eval` writes, and takes from them what the card states: no samples,
no benchmark data, no paths. Each summary names the weights that it was measured on, by a hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codegen_lsp.evals.benchmarks.infilling import WAY_NAMES
from codegen_lsp.evals.harness.records import DataError, read_json
from codegen_lsp.evals.harness.report import table
from codegen_lsp.wire.errors import CodegenError

FOLDER = "results"
"""Beside the weights."""

ResultsReport = Mapping[str, Any]

SEQUENCE = """\
codegen-lsp eval humaneval --samples 10 --temperature 0.2 --temperature 0.8 --max-tokens 200 --out runs/humaneval
codegen-lsp eval mtpb --data mtpb.jsonl --cases 1 --samples 1 --out runs/mtpb-multi
codegen-lsp eval mtpb --data mtpb.jsonl --cases 1 --samples 1 --turns single --out runs/mtpb-single
codegen-lsp eval infilling --data HumanEval-SingleLineInfilling.jsonl.gz --out runs/infilling
python -m codegen_lsp.nano files --count 10 | xargs -d '\\n' codegen-lsp eval replay --characters 200 --out runs/replay
python -m codegen_lsp.nano results runs/*
python -m codegen_lsp.nano card"""
"""The commands that measure nano and write its card, with settings that end within half an hour on two cores."""


class ResultsError(CodegenError):
    """A report is missing, is none of nano's, or was measured on other weights; the message says which."""


def weights(folder: Path) -> str:
    """The first digits of a hash of a checkpoint's weights."""
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise ResultsError(f"there are no weights in {folder}")
    digest = hashlib.sha256()
    for shard in shards:
        digest.update(shard.read_bytes())
    return digest.hexdigest()[:16]


def keep(runs: Sequence[Path], model: Path, name: str = "nano") -> list[Path]:
    """Summarise the reports in the folders of evaluations, beside the weights; the files written.

    Raises:
        ResultsError: a folder holds no report, or one of another model.
    """
    found = weights(model)
    written = []
    for run in runs:
        report = _read(run / "report.json")
        kind = report.get("evaluation")
        if kind not in SUMMARIES:
            raise ResultsError(f"{run / 'report.json'} is not a report of {', '.join(SUMMARIES)}")
        if report.get("model") != name or report.get("server") != "local":
            raise ResultsError(
                f"{run} is about {report.get('model')} at {report.get('server')}, not about the bundled model"
            )
        summary = {
            "evaluation": kind,
            "weights": found,
            "version": report["version"],
            "settings": report["settings"],
            **SUMMARIES[kind](report),
        }
        turns = report["settings"].get("turns") if kind == "mtpb" else None
        path = model / FOLDER / (f"{kind}-{turns}.json" if turns else f"{kind}.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except DataError as error:
        raise ResultsError(f"{error}; is the evaluation finished?") from error


def _humaneval(report: ResultsReport) -> dict[str, Any]:
    passed = {t: sum(p["passed"] for p in of.values()) for t, of in report["problems"].items()}
    drawn = {t: sum(p["samples"] for p in of.values()) for t, of in report["problems"].items()}
    return {
        "pass@k": report["pass@k"],
        "temperatures": report["temperatures"],
        "problems": max((len(of) for of in report["problems"].values()), default=0),
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
    files = {name: {key: of[key] for key in _TYPING} for name, of in report["by_file"].items()}
    return {"files": report["files"], **{key: report[key] for key in _TYPING}, "by_file": files}


SUMMARIES: dict[str, Callable[[ResultsReport], dict[str, Any]]] = {
    "humaneval": _humaneval,
    "mtpb": _mtpb,
    "infilling": _infilling,
    "replay": _replay,
}


def sections(model: Path) -> str:
    """The card's part on these evaluations; what is missing, or was measured on other weights, is said to be."""
    found = weights(model)
    parts = []
    for title, names, render in (
        ("HumanEval", ("humaneval",), _humaneval_text),
        ("MTPB", ("mtpb-multi", "mtpb-single"), _mtpb_text),
        ("Single-line infilling", ("infilling",), _infilling_text),
        ("Typing replay", ("replay",), _replay_text),
    ):
        files = [model / FOLDER / f"{name}.json" for name in names]
        known = [_read(file) for file in files if file.exists()]
        text = render(known) if known else "Not measured yet."
        if any(one["weights"] != found for one in known):
            text = f"Measured on earlier weights than those that lie here.\n\n{text}"
        parts.append(f"### {title}\n\n{text}")
    return "\n\n".join(parts) + f"\n\nThe commands that these tables come from:\n\n```sh\n{SEQUENCE}\n```"


def _estimate(value: Mapping[str, float]) -> str:
    return f"{100 * value['mean']:.2f} ({100 * value['low']:.1f} – {100 * value['high']:.1f})"


def _humaneval_text(known: Sequence[ResultsReport]) -> str:
    (one,) = known
    settings = one["settings"]
    ks = sorted({int(name.removeprefix("pass@")) for of in one["temperatures"].values() for name in of})
    rows = [
        [
            f"temperature {t}",
            *(_estimate(of[f"pass@{k}"]) for k in ks),
            f"{one['passed'][t]} of {one['samples'][t]}",
        ]
        for t, of in one["temperatures"].items()
    ]
    best = [_estimate(one["pass@k"][str(k)]) for k in ks]
    return "\n".join(
        [
            (
                f"{one['problems']} problems, {settings['samples']} samples of each at a temperature, top-p "
                f"{settings['top_p']:g}, at most {settings['max_tokens']} tokens. Percent, with 95 % intervals."
            ),
            "",
            *table(
                ["", *(f"pass@{k}" for k in ks), "samples that pass"], [*rows, ["best for each k", *best, ""]]
            ),
        ]
    )


def _mtpb_text(known: Sequence[ResultsReport]) -> str:
    rows = []
    for one in known:
        settings = one["settings"]
        rows.append(
            [
                f"{settings['turns']}-turn",
                *(_estimate(one[judge]["pass_rate"]) for judge in ("faithful", "repaired")),
                sum(of["problems"] for of in one["faithful"]["turns"].values()),
            ]
        )
    settings = known[0]["settings"]
    cases = f"{settings['cases']} of five cases" if settings.get("cases") else "all five cases"
    return "\n".join(
        [
            (
                f"{cases} a problem, {settings['samples']} of each sampled, at temperature "
                f"{settings['temperature']:g} and top-p {settings['top_p']:g}. Percent, with 95 % intervals."
            ),
            "",
            *table(["", "pass rate, faithful judge", "repaired judge", "problems"], rows),
        ]
    )


def _infilling_text(known: Sequence[ResultsReport]) -> str:
    (one,) = known
    ways = one["ways"]
    raw = ways["raw"]["exact_match"]["mean"]
    rows = []
    for way, title in WAY_NAMES.items():
        measured = [ways[way].get(name) for name in ("exact_match", "edit_similarity", "pass_rate")]
        gain = 100 * (ways[way]["exact_match"]["mean"] - raw)
        rows.append(
            [title.replace("**", ""), *("–" if m is None else _estimate(m) for m in measured), f"{gain:+.2f}"]
        )
    return "\n".join(
        [
            (
                f"{one['tasks']:,} of 1,033 tasks. The language server's own way against the same "
                f"model by itself: **{100 * one['gain_exact_match']:+.2f} points** of exact match. Percent, with 95 % "
                "intervals."
            ),
            "",
            *table(["", "exact match", "edit similarity", "pass rate", "gain in exact match"], rows),
        ]
    )


def _replay_text(known: Sequence[ResultsReport]) -> str:
    (one,) = known
    settings = one["settings"]
    rows = [_typing("**all**", one), *(_typing(name, of) for name, of in one["by_file"].items())]
    return "\n".join(
        [
            (
                f"{one['files']} held-out files, about {settings['characters']} characters typed in each through the "
                f"real language server, seed {settings['seed']}. Saved: keys that were not pressed, of those "
                "that the text takes. Shown: positions with a suggestion. Accepted: of those shown."
            ),
            "",
            *table(
                [
                    "",
                    "saved",
                    "shown",
                    "accepted",
                    "characters an accept",
                    "p50 / p95 / p99 ms",
                    "cache hits",
                ],
                rows,
            ),
        ]
    )


def _typing(name: str, of: Mapping[str, Any]) -> list[str]:
    def percent(key: str) -> str:
        return "–" if of[key] is None else f"{100 * of[key]:.1f} %"

    latency = of["latency_ms"]
    times = " / ".join("–" if latency[p] is None else f"{latency[p]:.0f}" for p in ("p50", "p95", "p99"))
    length = of["characters_per_accept"]
    return [
        name,
        *(percent(key) for key in ("keystrokes_saved", "shown_rate", "accept_rate")),
        "–" if length is None else f"{length:.1f}",
        times,
        percent("cache_hit_rate"),
    ]
