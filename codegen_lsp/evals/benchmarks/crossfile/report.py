"""The report: what the definitions and passages of other files add to the lines that need them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codegen_lsp.evals.benchmarks.crossfile.evaluation import WAYS
from codegen_lsp.evals.benchmarks.crossfile.tasks import CrossfileTask, identifiers
from codegen_lsp.evals.harness import report
from codegen_lsp.evals.harness.estimators import bootstrap, edit_similarity, percentile
from codegen_lsp.evals.harness.records import Folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = ("exact_match", "edit_similarity", "identifier_match", "identifier_f1")
NAMES = {
    "none": "the current file alone",
    "names": "with the names of other files",
    "imports": "with names and imported definitions",
    "similar": "with names and similar passages",
    "both": "with all",
}


def measures(line: str, task: CrossfileTask) -> dict[str, float]:
    """Return how well a line is the real one, from 0 to 1 each."""
    written, wanted = line.strip(), task.rest.strip()
    theirs, ours = Counter(task.identifiers), Counter(identifiers(written))
    common = sum((theirs & ours).values())
    total = sum(theirs.values()) + sum(ours.values())
    return {
        "exact_match": float(written == wanted),
        "edit_similarity": edit_similarity(written, wanted),
        "identifier_match": float(identifiers(written) == task.identifiers),
        "identifier_f1": 2 * common / total if total else 0.0,
    }


def figures(
    records: Sequence[Mapping[str, Any]], tasks: Sequence[CrossfileTask]
) -> dict[str, dict[str, Any]]:
    """Return the measures of each way, means over the tasks with their intervals, and its costs."""
    ways: dict[str, dict[str, Any]] = {}
    for way in WAYS:
        entries = [record["ways"][way] for record in records]
        values = [measures(entry["line"], task) for entry, task in zip(entries, tasks, strict=True)]
        ways[way] = {name: bootstrap([value[name] for value in values]).to_json() for name in MEASURES}
        ways[way] |= {
            "shown": round(sum(entry["pieces"] > 0 for entry in entries) / len(entries), 4),
            "tokens": round(sum(entry["tokens"] for entry in entries) / len(entries), 1),
            "added_ms": round(_added_ms(records, way), 1),
        }
    return ways


def _added_ms(records: Sequence[Mapping[str, Any]], way: str) -> float:
    """Return the median of what a way's first request costs over the one without other files."""
    return percentile([record["ways"][way]["ms"] - record["ways"]["none"]["ms"] for record in records], 50)


def write_report(
    folder: Folder,
    records: Sequence[Mapping[str, Any]],
    tasks: Sequence[CrossfileTask],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the report's files, and return the content of its JSON."""
    packages = sorted({task.task_id.partition("/")[0] for task in tasks})
    by_package = {}
    for package in packages:
        pairs = [(r, t) for r, t in zip(records, tasks, strict=True) if t.task_id.startswith(package + "/")]
        by_package[package] = {
            "tasks": len(pairs),
            "ways": figures(*(list(part) for part in zip(*pairs, strict=True))),
        }
    ways = figures(records, tasks)
    base = ways["none"]["identifier_match"]["mean"]
    gather = [record["gather_ms"] for record in records]
    data: dict[str, Any] = {
        "evaluation": "crossfile",
        **about,
        "tasks": len(tasks),
        "ways": ways,
        "gain_identifier_match": {
            way: round(ways[way]["identifier_match"]["mean"] / base - 1, 4) if base else None
            for way in WAYS[1:]
        },
        "gather_ms": {f"p{p}": round(percentile(gather, p), 1) for p in (50, 95)},
        "by_package": by_package,
    }
    report.write(folder.path, data, _page(data), lambda axes: _draw(axes, ways))
    return data


def _page(data: Mapping[str, Any]) -> list[str]:
    def row(name: str, way: Mapping[str, Any]) -> list[str]:
        cells = [
            f"{100 * way[m]['mean']:.1f} ({100 * way[m]['low']:.1f} – {100 * way[m]['high']:.1f})"
            for m in MEASURES
        ]
        return [
            name,
            *cells,
            f"{100 * way['shown']:.0f} %",
            f"{way['tokens']:.0f}",
            f"{way['added_ms']:+.0f}",
        ]

    head = ["", *(name.replace("_", " ") for name in MEASURES), "with pieces", "their tokens", "added ms"]
    lines = [
        f"# Lines that need another file: {data['model']}",
        "",
        (
            f"{data['tasks']} lines of {', '.join(data['by_package'])}, where a type checker misses something if the "
            "package's imports from itself are empty. Percent, with the interval that 95 % of bootstrap means fall "
            "into. Added milliseconds: the median of a first request's, whose prompt is in no cache; finding the "
            f"pieces took {data['gather_ms']['p50']:.0f} ms (median) in the background."
        ),
        "",
        *report.table(head, [row(NAMES[way], data["ways"][way]) for way in WAYS]),
    ]
    for package, part in data["by_package"].items():
        rows = [row(NAMES[way], part["ways"][way]) for way in WAYS]
        lines += ["", f"## {package}: {part['tasks']} lines", "", *report.table(head, rows)]
    return lines


def _draw(axes: Axes, ways: Mapping[str, Mapping[str, Any]]) -> None:
    width = 0.8 / len(WAYS)
    for number, way in enumerate(WAYS):
        means = [100 * ways[way][name]["mean"] for name in MEASURES]
        spread = [
            [100 * (ways[way][name]["mean"] - ways[way][name]["low"]) for name in MEASURES],
            [100 * (ways[way][name]["high"] - ways[way][name]["mean"]) for name in MEASURES],
        ]
        places = [index + (number - (len(WAYS) - 1) / 2) * width for index in range(len(MEASURES))]
        axes.bar(places, means, width, yerr=spread, label=NAMES[way], capsize=2)
    axes.set_xticks(range(len(MEASURES)), [name.replace("_", " ") for name in MEASURES])
    axes.set_ylabel("percent of the lines")
    axes.set_title("Lines that need another file")
    axes.legend()
