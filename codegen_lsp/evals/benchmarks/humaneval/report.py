"""HumanEval's report: pass@k with intervals, beside the published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codegen_lsp.evals.benchmarks.published import HUMANEVAL_MONO, SOURCE
from codegen_lsp.evals.harness import report
from codegen_lsp.evals.harness.estimators import Estimate, bootstrap, pass_at_k
from codegen_lsp.evals.harness.records import Folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KS = (1, 10, 100)


def estimates(counts: Mapping[str, tuple[int, int]], ks: Sequence[int] = KS) -> dict[int, Estimate]:
    """Return pass@k for each k that there are samples for: the mean over problems with its interval."""
    fewest = min(n for n, _ in counts.values())
    return {k: bootstrap([pass_at_k(n, c, k) for n, c in counts.values()]) for k in ks if k <= fewest}


def write_report(
    folder: Folder, counts: Mapping[float, Mapping[str, tuple[int, int]]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the report's files, and return the content of its JSON."""
    by_temperature = {t: estimates(c) for t, c in counts.items()}
    best = _best(by_temperature)
    data: dict[str, Any] = {
        "evaluation": "humaneval",
        **about,
        "pass@k": {str(k): {"temperature": t, **e.to_json()} for k, (t, e) in best.items()},
        "temperatures": {
            f"{t:g}": {f"pass@{k}": e.to_json() for k, e in by_k.items()}
            for t, by_k in by_temperature.items()
        },
        "problems": {
            f"{t:g}": {task: {"samples": n, "passed": c} for task, (n, c) in by_task.items()}
            for t, by_task in counts.items()
        },
        "published": {
            "source": SOURCE,
            "pass@k": {name: {str(k): v for k, v in of.items()} for name, of in HUMANEVAL_MONO.items()},
        },
    }
    report.write(folder.path, data, _page(data, by_temperature, best), lambda axes: _draw(axes, counts))
    return data


def _best(by_temperature: Mapping[float, Mapping[int, Estimate]]) -> dict[int, tuple[float, Estimate]]:
    """Return for each k the temperature with the highest mean, the earliest of equals, and its estimate."""
    best: dict[int, tuple[float, Estimate]] = {}
    for temperature, by_k in by_temperature.items():
        for k, estimate in by_k.items():
            if k not in best or estimate.mean > best[k][1].mean:
                best[k] = (temperature, estimate)
    return best


def _page(
    data: Mapping[str, Any],
    by_temperature: Mapping[float, Mapping[int, Estimate]],
    best: Mapping[int, tuple[float, Estimate]],
) -> list[str]:
    ks = sorted(best)
    rows: list[list[object]] = [
        [f"temperature {t:g}", *(by_k[k].percent() if k in by_k else "–" for k in ks)]
        for t, by_k in by_temperature.items()
    ]
    rows.append(["**best for each k**", *(f"**{best[k][1].percent()}**" for k in ks)])
    rows += [[name, *(f"{figures[k]:.2f}" for k in ks)] for name, figures in HUMANEVAL_MONO.items()]
    settings = data["settings"]
    return [
        f"# HumanEval{report.first(settings['problems'], 'problem')}: {data['model']}",
        "",
        (
            f"pass@k in percent, with the interval that 95 % of bootstrap means over the problems fall into. "
            f"{settings['samples']} samples for each problem and temperature, top-p {settings['top_p']:g}, at most "
            f"{settings['max_tokens']} tokens. The last rows are CodeGen-Mono's ({SOURCE}): 200 samples, the "
            "best of three temperatures for each k."
        ),
        "",
        *report.table(["", *(f"pass@{k}" for k in ks)], rows),
        "",
        report.walls_sentence(data),
    ]


def _draw(axes: Axes, counts: Mapping[float, Mapping[str, tuple[int, int]]]) -> None:
    for temperature, by_task in counts.items():
        fewest = min(n for n, _ in by_task.values())
        ks = sorted({*(k for k in (1, 2, 3, 5, 10, 20, 50, 100, 200) if k <= fewest), fewest})
        means = [100 * sum(pass_at_k(n, c, k) for n, c in by_task.values()) / len(by_task) for k in ks]
        axes.plot(ks, means, marker="o", label=f"temperature {temperature:g}")
    for name, figures in HUMANEVAL_MONO.items():
        axes.plot([*figures], [*figures.values()], "--", marker="x", color="0.6", linewidth=1)
        axes.annotate(name, (100, figures[100]), fontsize=8, color="0.4", ha="right", va="bottom")
    axes.set_xscale("log")
    axes.set_xlabel("k")
    axes.set_ylabel("pass@k, percent")
    axes.set_ylim(bottom=0)
    axes.set_title("HumanEval (dashed: the paper's)")
    axes.legend()
