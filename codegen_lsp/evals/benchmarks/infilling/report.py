"""Infilling's report: what each part of the language server adds to the model alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codegen_lsp.evals.benchmarks.infilling.evaluation import (
    FILLING_WAYS,
    WAYS,
    choices,
    is_exact,
    row_text,
)
from codegen_lsp.evals.benchmarks.infilling.tasks import Task
from codegen_lsp.evals.benchmarks.published import INFILLING
from codegen_lsp.evals.harness import report
from codegen_lsp.evals.harness.estimators import bootstrap, edit_similarity
from codegen_lsp.evals.harness.records import Folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def figures(records: Sequence[Mapping[str, Any]], tasks: Sequence[Task]) -> dict[str, dict[str, Any]]:
    """Return exact match, edit similarity and pass rate of each way: means over the tasks with their intervals."""
    ways: dict[str, dict[str, Any]] = {}
    filled = [choices(record, task) for record, task in zip(records, tasks, strict=True)]
    for way in [*WAYS, *(way for way in FILLING_WAYS if all(way in each for each in filled))]:
        lines = [each[way] for each in filled]
        exact = [float(is_exact(line, t)) for line, t in zip(lines, tasks, strict=True)]
        similar = [
            edit_similarity(line.rstrip(), t.line.rstrip()) for line, t in zip(lines, tasks, strict=True)
        ]
        passed = [float(record["passed"][way]) for record in records]
        ways[way] = {
            "exact_match": bootstrap(exact).to_json(),
            "edit_similarity": bootstrap(similar).to_json(),
            "pass_rate": bootstrap(passed).to_json(),
        }
    reachable = [
        float(any(is_exact(row_text(row, task), task) for row in record["rows"]))
        for record, task in zip(records, tasks, strict=True)
    ]
    ways["any"] = {"exact_match": bootstrap(reachable).to_json()}
    return ways


def gains(ways: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return what each way adds to the exact match of the way before it, as shares of the tasks."""
    exact = [ways[way]["exact_match"]["mean"] for way in WAYS]
    return {way: round(b - a, 6) for way, a, b in zip(WAYS[1:], exact, exact[1:], strict=False)}


def write_report(
    folder: Folder, records: Sequence[Mapping[str, Any]], tasks: Sequence[Task], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the report's files, and return the content of its JSON."""
    ways = figures(records, tasks)
    gain = ways["server"]["exact_match"]["mean"] - ways["raw"]["exact_match"]["mean"]
    data: dict[str, Any] = {
        "evaluation": "infilling",
        **about,
        "tasks": len(tasks),
        "ways": ways,
        "gain_exact_match": round(gain, 6),
        "gain_of_each_part": gains(ways),
        # Published for single lines; other gaps are harder.
        "published": {"pass_rate": INFILLING if all(task.kind == "line" for task in tasks) else {}},
    }
    report.write(folder.path, data, _page(data), lambda axes: _draw(axes, ways, data["settings"]["data"]))
    return data


WAY_NAMES = {
    "raw": "raw left to right, greedy",
    "fill": "raw with the text after the cursor, greedy",
    "prompt": "the server's prompt and filters, its first row",
    "mean": "… its best row by mean log-probability",
    "server": "**the server: prompt, filters, ranking**",
    "left_to_right": "the server, left to right",
    "any": "any of its rows (what ranking could reach)",
}


def _page(data: Mapping[str, Any]) -> list[str]:
    def cell(way: str, name: str) -> str:
        value = data["ways"][way].get(name)
        if value is None:
            return "–"
        return f"{100 * value['mean']:.2f} ({100 * value['low']:.1f} – {100 * value['high']:.1f})"

    def gain(way: str) -> str:
        value = data["gain_of_each_part"].get(way)
        return "–" if value is None else f"{100 * value:+.2f}"

    names = ("exact_match", "edit_similarity", "pass_rate")
    rows = [
        [text, *(cell(way, name) for name in names), gain(way)]
        for way, text in WAY_NAMES.items()
        if way in data["ways"]
    ]
    rows += [
        [f"{name} (published)", "–", "–", f"{rate:.1f}", "–"]
        for name, rate in data["published"]["pass_rate"].items()
    ]
    return [
        f"# Infilling ({data['settings']['data']}): {data['model']}",
        "",
        (
            f"{data['tasks']} tasks; percent, with the interval that 95 % of bootstrap means fall into. The server "
            f"gains {100 * data['gain_exact_match']:+.2f} points of exact match over the same model alone."
        ),
        "",
        *report.table(["", "exact match", "edit similarity", "pass rate", "exact match gained"], rows),
        "",
        report.walls_sentence(data),
    ]


def _draw(axes: Axes, ways: Mapping[str, Mapping[str, Any]], source: str) -> None:
    labels = {
        "raw": "raw greedy",
        "prompt": "prompt, filters",
        "mean": "+ log-probability",
        "server": "server",
    }
    for offset, name in enumerate(("exact_match", "edit_similarity", "pass_rate")):
        values = [100 * ways[way][name]["mean"] for way in labels]
        places = [n + 0.27 * (offset - 1) for n in range(len(labels))]
        axes.bar(places, values, width=0.25, label=name.replace("_", " "))
    axes.set_xticks(range(len(labels)), list(labels.values()))
    axes.set_ylabel("percent")
    axes.set_title(f"Infilling ({source})")
    axes.legend(fontsize=8)
