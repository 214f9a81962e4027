"""MTPB's report: pass rates of both judges, by category and by number of steps, beside the published figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codegen_lsp.evals.benchmarks.mtpb.cases import Case, Judge
from codegen_lsp.evals.benchmarks.published import MTPB_MONO, SOURCE
from codegen_lsp.evals.harness import report
from codegen_lsp.evals.harness.estimators import Estimate, bootstrap
from codegen_lsp.evals.harness.records import Folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Rates:
    """Pass rates of one judge."""

    total: Estimate
    categories: Mapping[str, tuple[int, float]]
    """Number of problems and rate, by category."""
    turns: Mapping[int, tuple[int, float]]
    """Number of problems and rate, by the number of steps."""

    def to_json(self) -> dict[str, Any]:
        """Return the rates for the report."""
        return {
            "pass_rate": self.total.to_json(),
            "categories": {k: {"problems": n, "pass_rate": r} for k, (n, r) in self.categories.items()},
            "turns": {str(k): {"problems": n, "pass_rate": r} for k, (n, r) in self.turns.items()},
        }


def rates(verdicts: Sequence[Mapping[str, Any]], cases: Sequence[Case], judge_name: Judge) -> Rates:
    """Return pass rates over problems; a problem's rate is the share of all its samples that pass."""
    by_problem: dict[str, list[bool]] = defaultdict(list)
    for record in verdicts:
        by_problem[str(record["id"])].append(record[judge_name])
    by_name = {case.problem: case for case in cases}
    passed = {p: sum(v) / len(v) for p, v in by_problem.items() if p in by_name}
    categories: dict[str, list[float]] = defaultdict(list)
    turns: dict[int, list[float]] = defaultdict(list)
    for problem, rate in passed.items():
        categories[by_name[problem].category].append(rate)
        turns[len(by_name[problem].prompts)].append(rate)
    return Rates(
        bootstrap(list(passed.values())),
        {k: (len(v), sum(v) / len(v)) for k, v in sorted(categories.items())},
        {k: (len(v), sum(v) / len(v)) for k, v in sorted(turns.items())},
    )


def write_report(
    folder: Folder,
    verdicts: Sequence[Mapping[str, Any]],
    cases: Sequence[Case],
    about: Mapping[str, Any],
    judge_name: Judge = "faithful",
) -> dict[str, Any]:
    """Write the report's files, `judge_name` first, and return the content of its JSON."""
    by_judge: dict[Judge, Rates] = {name: rates(verdicts, cases, name) for name in ("faithful", "repaired")}
    data: dict[str, Any] = {
        "evaluation": "mtpb",
        **about,
        "judge": judge_name,
        "faithful": by_judge["faithful"].to_json(),
        "repaired": by_judge["repaired"].to_json(),
        "published": {"source": SOURCE, "pass_rate": MTPB_MONO},
    }
    page = _page(data, by_judge, judge_name)
    report.write(folder.path, data, page, lambda axes: _draw(axes, by_judge[judge_name], data))
    return data


def _page(data: Mapping[str, Any], by_judge: Mapping[Judge, Rates], judge_name: Judge) -> list[str]:
    settings, leading = data["settings"], by_judge[judge_name]
    head = [f"**{data['model']}, {name} judge**" for name in by_judge]
    totals = [[h, settings["turns"], r.total.percent()] for h, r in zip(head, by_judge.values(), strict=True)]
    published = [
        [name, kind, f"{figures[kind]:.2f}"] for name, figures in MTPB_MONO.items() for kind in figures
    ]
    return [
        f"# MTPB ({settings['data']}{report.first(settings['problems'], 'problem')}): {data['model']}",
        "",
        (
            f"Pass rate in percent, {settings['turns']}-turn, with the interval that 95 % of bootstrap means over "
            f"the problems fall into. {settings['samples']} samples for each case, "
            f"temperature {settings['temperature']:g}, top-p {settings['top_p']:g}. The paper's figures ({SOURCE}) are "
            "CodeGen-Mono's with 40 samples. The faithful judge is the reference's, which can't compare dicts and None "
            "(7 of 575 cases); the repaired one can. The single-turn variant is our reading: the reference's scripts "
            "have none."
        ),
        "",
        *report.table(["", "turns", "pass rate"], [*totals, *published]),
        "",
        *report.table(
            ["category", "problems", "pass rate"],
            [[name, n, f"{100 * rate:.2f}"] for name, (n, rate) in leading.categories.items()],
        ),
        "",
        *report.table(
            ["steps", "problems", "pass rate"],
            [[steps, n, f"{100 * rate:.2f}"] for steps, (n, rate) in leading.turns.items()],
        ),
        "",
        report.walls_sentence(data),
    ]


def _draw(axes: Axes, leading: Rates, data: Mapping[str, Any]) -> None:
    names = [*leading.categories, *(f"{n} steps" for n in leading.turns)]
    values = [100 * r for _, r in [*leading.categories.values(), *leading.turns.values()]]
    axes.barh(names, values)
    axes.invert_yaxis()
    axes.axvline(100 * leading.total.mean, color="black", label=f"all: {100 * leading.total.mean:.1f} %")
    published = MTPB_MONO["350M-mono"][data["settings"]["turns"]]
    axes.axvline(published, color="0.6", linestyle="--", label=f"350M-mono in the paper: {published} %")
    axes.set_xlim(left=0)
    axes.set_xlabel("pass rate, percent")
    axes.set_title(f"MTPB, {data['settings']['turns']}-turn")
    axes.legend(fontsize=8)
