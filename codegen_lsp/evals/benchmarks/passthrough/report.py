"""The report of a passthrough run: a table of languages and places, and examples of what did not arrive."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codegen_lsp.evals.benchmarks.passthrough.evaluation import OUTCOMES, Arrival, PassthroughSettings
from codegen_lsp.evals.benchmarks.passthrough.places import KINDS
from codegen_lsp.evals.harness import report

_EXAMPLES = 5
"""Examples of each language, place and outcome that the report keeps."""


def settings_of(settings: PassthroughSettings) -> dict[str, Any]:
    """Return the settings as the report states them."""
    return asdict(settings)


def figures(findings: Sequence[Arrival]) -> dict[str, dict[str, dict[str, int]]]:
    """Return how often each outcome came, by language and kind of place."""
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for finding in findings:
        counts[finding.place.language][finding.place.kind][finding.outcome] += 1
    return {
        name: {
            kind: {outcome: kinds[kind][outcome] for outcome in OUTCOMES} for kind in KINDS if kind in kinds
        }
        for name, kinds in counts.items()
    }


def write_report(folder: Path, findings: Sequence[Arrival], about: Mapping[str, Any]) -> dict[str, Any]:
    """Write the report's files and return its data."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = figures(findings)
    total = Counter(finding.outcome for finding in findings)
    data = {
        "evaluation": "passthrough",
        **about,
        "places": len(findings),
        "outcomes": {outcome: total[outcome] for outcome in OUTCOMES},
        "languages": counts,
        "examples": _examples(findings),
    }
    report.write(folder, data, _page(data))
    return data


def _examples(findings: Sequence[Arrival]) -> list[dict[str, Any]]:
    pairs: Counter[tuple[str, str, str]] = Counter()
    counted = []
    for finding in findings:
        key = (finding.place.language, finding.place.kind, finding.outcome)
        pairs[key] += 1
        if finding.outcome == "intact" or pairs[key] > _EXAMPLES:
            continue
        counted.append(
            {
                "place": f"{finding.place.path}:{finding.place.line}",
                "language": finding.place.language,
                "kind": finding.place.kind,
                "outcome": finding.outcome,
                "before": finding.place.prefix[-160:],
                "wanted": finding.place.wanted,
                "inserted": finding.inserted,
                "note": finding.note,
            }
        )
    return counted


def _page(data: Mapping[str, Any]) -> list[str]:
    def share(counts: Mapping[str, int] | None) -> str:
        if not counts:
            return "–"
        return f"{100 * counts['intact'] / sum(counts.values()):.1f} ({sum(counts.values())})"

    rows = []
    for name, kinds in data["languages"].items():
        summed = {outcome: sum(counts[outcome] for counts in kinds.values()) for outcome in OUTCOMES}
        lost = [summed[outcome] for outcome in OUTCOMES if outcome != "intact"]
        rows.append([name, *(share(kinds.get(kind)) for kind in KINDS), share(summed), *lost])
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in data["outcomes"].items())
    return [
        "# Passthrough",
        "",
        f"What a model that writes what the file has would get into the document: {data['places']} places, {outcomes}.",
        "Percent that arrives intact, and the number of places.",
        "",
        *report.table(["", *KINDS.values(), "all", "cut", "dropped", "changed", "doubled"], rows),
    ]
