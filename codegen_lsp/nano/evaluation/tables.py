"""The benchmark section of the model card: tables of the summaries that `results` keeps.

Knows the summaries, not the reports that they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codegen_lsp.evals.benchmarks.infilling import WAY_NAMES
from codegen_lsp.evals.harness.report import table
from codegen_lsp.nano.evaluation.results import FOLDER, ResultsReport, read_result, weights

SEQUENCE = """\
codegen-lsp eval humaneval --samples 10 --temperature 0.2 --temperature 0.8 --max-tokens 200 --out runs/humaneval
codegen-lsp eval mtpb --data mtpb.jsonl --cases 1 --samples 1 --out runs/mtpb-multi
codegen-lsp eval mtpb --data mtpb.jsonl --cases 1 --samples 1 --turns single --out runs/mtpb-single
codegen-lsp eval infilling --data HumanEval-SingleLineInfilling.jsonl.gz --fill-in-the-middle always \\
    --out runs/infilling
python -m codegen_lsp.nano files --count 10 > files
xargs -d '\\n' -a files codegen-lsp eval replay --characters 200 --out runs/replay
xargs -d '\\n' -a files codegen-lsp eval replay --characters 200 --fill-in-the-middle always --out runs/replay-always
python -m codegen_lsp.nano results runs/*
python -m codegen_lsp.nano card --recipe gpu-fill"""
"""The commands that measure nano and write its card. They take about half an hour on two cores."""


def sections(model: Path) -> str:
    """Return the card's benchmark section; it marks what is missing or was measured on other weights."""
    digest = weights(model)
    parts = []
    for title, names, render in (
        ("HumanEval", ("humaneval",), _humaneval_text),
        ("MTPB", ("mtpb-multi", "mtpb-single"), _mtpb_text),
        ("Single-line infilling", ("infilling",), _infilling_text),
        ("Typing replay", ("replay", "replay-always"), _replay_text),
    ):
        files = [model / FOLDER / f"{name}.json" for name in names]
        summaries = [read_result(file) for file in files if file.exists()]
        text = render(summaries) if summaries else "Not measured yet."
        if any(summary["weights"] != digest for summary in summaries):
            text = f"Measured on earlier weights, not on the ones in this folder.\n\n{text}"
        parts.append(f"### {title}\n\n{text}")
    introduction = "The commands for these tables; on a processor they measure the weights in int8:"
    return "\n\n".join([*parts, f"{introduction}\n\n```sh\n{SEQUENCE}\n```"])


def _estimate(value: Mapping[str, float]) -> str:
    return f"{100 * value['mean']:.2f} ({100 * value['low']:.1f} – {100 * value['high']:.1f})"


def _text(introduction: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return "\n".join([introduction, "", *table(head, rows)])


def _humaneval_text(summaries: Sequence[ResultsReport]) -> str:
    (summary,) = summaries
    settings, temperatures = summary["settings"], summary["temperatures"]
    ks = sorted({int(name.removeprefix("pass@")) for rates in temperatures.values() for name in rates})
    rows = [
        [
            f"temperature {temperature}",
            *(_estimate(rates[f"pass@{k}"]) for k in ks),
            f"{summary['passed'][temperature]} of {summary['samples'][temperature]}",
        ]
        for temperature, rates in temperatures.items()
    ]
    rows.append(["best for each k", *(_estimate(summary["pass@k"][str(k)]) for k in ks), ""])
    introduction = (
        f"{summary['problems']} problems, {settings['samples']} samples of each per temperature, top-p "
        f"{settings['top_p']:g}, at most {settings['max_tokens']} tokens. Percent, with 95 % intervals."
    )
    return _text(introduction, ["", *(f"pass@{k}" for k in ks), "samples that pass"], rows)


def _mtpb_text(summaries: Sequence[ResultsReport]) -> str:
    rows = []
    for summary in summaries:
        rates = [_estimate(summary[judge]["pass_rate"]) for judge in ("faithful", "repaired")]
        problems = sum(turn["problems"] for turn in summary["faithful"]["turns"].values())
        rows.append([f"{summary['settings']['turns']}-turn", *rates, problems])
    settings = summaries[0]["settings"]
    cases = f"{settings['cases']} of five" if settings.get("cases") else "all five"
    introduction = (
        f"Cases per problem: {cases}; samples per case: {settings['samples']}; temperature "
        f"{settings['temperature']:g}; top-p {settings['top_p']:g}. Percent, with 95 % intervals."
    )
    return _text(introduction, ["", "pass rate, faithful judge", "repaired judge", "problems"], rows)


def _infilling_text(summaries: Sequence[ResultsReport]) -> str:
    (summary,) = summaries
    ways = summary["ways"]
    raw = ways["raw"]["exact_match"]["mean"]
    rows = []
    for way, title in ((way, title) for way, title in WAY_NAMES.items() if way in ways):
        rates = [ways[way].get(name) for name in ("exact_match", "edit_similarity", "pass_rate")]
        cells = ["–" if rate is None else _estimate(rate) for rate in rates]
        gain = 100 * (ways[way]["exact_match"]["mean"] - raw)
        rows.append([title.replace("**", ""), *cells, f"{gain:+.2f}"])
    introduction = (
        f"{summary['tasks']:,} of 1,033 tasks. The language server against the same model without it: "
        f"**{100 * summary['gain_exact_match']:+.2f} points** of exact match. Percent, with 95 % intervals."
    )
    if "left_to_right" in ways:
        introduction += (
            " Measured with `fillInTheMiddle: always`, with which the server reads the text after the cursor; by "
            "default it does as the row “the server, left to right”."
        )
    introduction += " The weights of the ranking were chosen on these lines and on lines of held-out files."
    return _text(
        introduction, ["", "exact match", "edit similarity", "pass rate", "gain in exact match"], rows
    )


def _replay_text(summaries: Sequence[ResultsReport]) -> str:
    summary, *others = summaries
    settings = summary["settings"]
    rows = [_typing("**all**", summary), *(_typing(*item) for item in summary["by_file"].items())]
    rows += [
        _typing(f"all with `fillInTheMiddle: {other['settings']['fill_in_the_middle']}`", other)
        for other in others
    ]
    introduction = (
        f"{summary['files']} held-out files, about {settings['characters']} characters typed into each through the "
        f"real language server, seed {settings['seed']}. Saved: keystrokes that were not needed, as a share of "
        "those for the whole text. Shown: share of the positions that have a suggestion. Accepted: share of the "
        "shown suggestions."
    )
    head = ["", "saved", "shown", "accepted", "characters per accept", "p50 / p95 / p99 ms", "cache hits"]
    return _text(introduction, head, rows)


def _typing(name: str, tally: Mapping[str, Any]) -> list[str]:
    def percent(key: str) -> str:
        return "–" if tally[key] is None else f"{100 * tally[key]:.1f} %"

    latency, length = tally["latency_ms"], tally["characters_per_accept"]
    times = ("–" if latency[p] is None else f"{latency[p]:.0f}" for p in ("p50", "p95", "p99"))
    return [
        name,
        *(percent(key) for key in ("keystrokes_saved", "shown_rate", "accept_rate")),
        "–" if length is None else f"{length:.1f}",
        " / ".join(times),
        percent("cache_hit_rate"),
    ]
