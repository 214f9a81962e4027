"""Single-line infilling: one line between a prefix and a suffix (1,033 tasks made from HumanEval; Bavarian et al.).

The benchmark nearest to what the language server does, so each task goes its way: the server's prompt, decoding,
filters and ranking, against raw left-to-right greedy of the same model. The cursor stands on the empty line that is
to be filled, and one line is asked for, as the benchmark does. Between the two ends, what each part gave:

- `raw`: the task's prefix, decoded greedily, up to the end of the first line that holds something.
- `prompt`: the server's first row (its greedy one), through its filters, with what the code below says of the line.
- `mean`: the server's rows, the best mean log-probability first.
- `server`: what an editor would show: all rows, ranked by everything.
- `any`: whether any row is right; what ranking could reach at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codegen_lsp.evals.benchmarks.published import INFILLING
from codegen_lsp.evals.harness import report
from codegen_lsp.evals.harness.estimators import bootstrap, edit_similarity
from codegen_lsp.evals.harness.judging import Judges
from codegen_lsp.evals.harness.records import DataError, EvaluationError, Folder, read_lines
from codegen_lsp.evals.harness.retrying_client import ReportProgress, RetryingClient, together
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.options import Options
from codegen_lsp.lsp.prompts import prompt as prompts
from codegen_lsp.lsp.prompts.token_counter import TokenCounter, estimate
from codegen_lsp.lsp.suggest import filters, generation, rank
from codegen_lsp.lsp.suggest.values import Verdict
from codegen_lsp.wire.errors import RequestError
from codegen_lsp.wire.requests import CompletionRequest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from codegen_lsp.wire.client import EngineClient

WAYS = ("raw", "prompt", "mean", "server")
AT_ONCE = 16


@dataclass(frozen=True)
class Task:
    """One line to fill in."""

    task_id: str
    entry_point: str
    prefix: str
    suffix: str
    line: str
    """The line that was taken out, with its line end."""
    test: str

    def program(self, line: str) -> str:
        """What is run to judge a line."""
        return f"{self.prefix}{line}\n{self.suffix}\n{self.test}\ncheck({self.entry_point})"

    def cursor(self) -> Cursor:
        """Where a person would ask: on the empty line that is to be filled."""
        return Cursor(
            uri=f"file:///{self.task_id}.py",
            language="python",
            version=None,
            line=self.prefix.count("\n"),
            prefix=self.prefix,
            suffix="\n" + self.suffix,
        )


@dataclass(frozen=True)
class InfillingSettings:
    """What makes two runs the same."""

    rows: int = 3
    """Rows that the server decodes, as its option `candidates`; two more, as when a person asks by hand."""
    max_tokens: int = 64
    seconds: float = 3.0
    """Wall-clock limit of one program."""
    tasks: int = 0
    """Only so many tasks, evenly spread over the benchmark; 0 for all."""

    def __post_init__(self) -> None:
        if self.rows < 1 or self.max_tokens < 1 or self.seconds <= 0 or self.tasks < 0:
            raise EvaluationError("rows, tokens and seconds must be positive")


def read_tasks(path: Path, count: int = 0) -> list[Task]:
    """The tasks in the benchmark's file.

    Raises:
        DataError: the file is missing, or is not the benchmark's.
    """
    names = ("task_id", "entry_point", "prompt", "suffix", "canonical_solution", "test")
    tasks = []
    for entry in read_lines(path):
        values = [entry.get(name) for name in names]
        if not all(isinstance(value, str) for value in values):
            raise DataError(f"{path} is not the single-line infilling benchmark: a task lacks {names}")
        tasks.append(Task(*(str(value) for value in values)))
    if not tasks:
        raise DataError(f"{path} holds no task")
    if 0 < count < len(tasks):
        tasks = [tasks[i * len(tasks) // count] for i in range(count)]
    return tasks


def _has_line(text: str) -> bool:
    """Whether a text holds a whole line that isn't blank."""
    return any(line.strip() for line in text.split("\n")[:-1])


class Filler:
    """Fills lines, by the server's parts and without them."""

    def __init__(
        self,
        asker: RetryingClient,
        engine: EngineClient,
        settings: InfillingSettings,
        count: TokenCounter,
        context: int,
    ):
        """`context` is the model's, in tokens."""
        self._asker = asker
        self._engine = engine
        self._max_tokens = settings.max_tokens
        self._count = count
        self._options = Options(candidates=settings.rows, max_tokens_line=settings.max_tokens)
        self._limits = prompts.PromptLimits(context=context, line_tokens=settings.max_tokens)

    async def raw(self, task: Task) -> str:
        """What the model writes by itself, greedily; the first line of it that holds something."""
        request = CompletionRequest(
            prompts=(task.prefix,), max_tokens=self._max_tokens, temperature=0.0, stop=("\n\n\n",)
        )
        text = await self._asker.continuation(request, _has_line)
        return next((line for line in text.split("\n") if line.strip()), "")

    async def server(self, task: Task) -> list[dict[str, Any]]:
        """What the language server would show, and the rows it chose from; best first, then those it dropped."""
        cursor = task.cursor()
        prompt = prompts.build(cursor, self._limits, self._count, "line")
        request = generation.to_request(
            prompt, self._options, extensions=self._engine.extensions, invoked=True
        )
        patience = generation.Patience(
            lambda text: filters.is_complete(text, cursor, prompt), start=prompt.start
        )
        try:
            found = await self._asker.patiently(lambda: generation.read(self._engine, request, patience))
        except RequestError as error:
            if "context" not in error.message:
                raise
            return []
        verdicts = [filters.run(candidate, cursor, prompt) for candidate in found.candidates]
        if self._engine.extensions:
            pairs = [
                rank.scoring_prompt(cursor, prompt, v.candidate) if v.reason is None else None
                for v in verdicts
            ]
            known = verdicts
            verdicts = await self._asker.patiently(
                lambda: generation.score_suffixes(self._engine, known, pairs)
            )
        ranked, final = rank.rank(verdicts, cursor)
        places = {id(r.candidate): n for n, r in enumerate(ranked)}
        scores = {id(r.candidate): r for r in ranked}
        return [_row(v, n, places.get(id(v.candidate)), scores) for n, v in enumerate(final)]


def token_counter(tokenizer_file: str) -> TokenCounter:
    """Counts tokens by the model's tokenizer where that is on this machine, else estimates."""
    if not tokenizer_file or not Path(tokenizer_file).is_file():
        return TokenCounter(estimate)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(tokenizer_file)
    return TokenCounter(lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids))


def _row(verdict: Verdict, number: int, place: int | None, scores: Mapping[int, Any]) -> dict[str, Any]:
    candidate = verdict.candidate
    ranked = scores.get(id(candidate))
    return {
        "text": candidate.text,
        "row": number,
        "place": place,
        "reason": str(verdict.reason) if verdict.reason else None,
        "mean_logprob": candidate.mean_logprob,
        "suffix_logprob": candidate.suffix_logprob,
        "parts": dict(ranked.parts) if ranked else {},
    }


def choices(record: Mapping[str, Any]) -> dict[str, str]:
    """The line that each way fills in for a task, from its record."""
    rows = [r for r in record["rows"] if r["reason"] in (None, "duplicate")]
    by_place = sorted((r for r in rows if r["place"] is not None), key=lambda r: r["place"])
    by_mean = sorted(rows, key=lambda r: -(r["mean_logprob"] if r["mean_logprob"] is not None else -1e9))
    first = [r for r in rows if r["row"] == 0]
    found = {"raw": record["raw"]}
    for way, order in (("prompt", first), ("mean", by_mean), ("server", by_place)):
        found[way] = order[0]["text"].split("\n")[0] if order else ""
    return found


def is_exact(line: str, task: Task) -> bool:
    """Whether a line is the one that was taken out, but for white space at its end."""
    return line.rstrip() == task.line.rstrip()


async def evaluate(
    filler: Filler,
    judges: Judges,
    folder: Folder,
    tasks: Sequence[Task],
    progress: ReportProgress,
) -> list[dict[str, Any]]:
    """Fill and judge what the folder doesn't hold yet; a record a task, with `passed` by way.

        OUT/lines.jsonl       {"task_id", "raw", "rows"}
        OUT/verdicts.jsonl    {"task_id", "passed": {way: bool}}

    Raises:
        WireError: the engine refused, or does not come back; what is finished is in the folder.
        SandboxError: nothing can be judged safely.
    """
    lines, verdicts = folder.log("lines"), folder.log("verdicts")
    filled = {r["task_id"]: r for r in lines.records}
    judged = {r["task_id"]: r["passed"] for r in verdicts.records}
    progress(len(judged), len(tasks))

    async def one(task: Task) -> None:
        if task.task_id not in filled:
            record = {"task_id": task.task_id, "raw": await filler.raw(task)}
            record["rows"] = await filler.server(task)  # type: ignore[assignment]
            lines.append(record)
            filled[task.task_id] = record
        passed = {}
        for way, line in choices(filled[task.task_id]).items():
            passed[way] = (await judges.run(task.program(line))).passed
        verdicts.append({"task_id": task.task_id, "passed": passed})
        judged[task.task_id] = passed
        progress(len(judged), len(tasks))

    missing = [task for task in tasks if task.task_id not in judged]
    for start in range(0, len(missing), AT_ONCE):
        await together(one(task) for task in missing[start : start + AT_ONCE])
    return [{**filled[t.task_id], "passed": judged[t.task_id]} for t in tasks]


def figures(records: Sequence[Mapping[str, Any]], tasks: Sequence[Task]) -> dict[str, dict[str, Any]]:
    """Exact match, edit similarity and pass rate of each way, means over the tasks with their intervals."""
    found: dict[str, dict[str, Any]] = {}
    filled = [choices(record) for record in records]
    for way in WAYS:
        lines = [each[way] for each in filled]
        exact = [float(is_exact(line, t)) for line, t in zip(lines, tasks, strict=True)]
        similar = [
            edit_similarity(line.rstrip(), t.line.rstrip()) for line, t in zip(lines, tasks, strict=True)
        ]
        passed = [float(record["passed"][way]) for record in records]
        found[way] = {
            "exact_match": bootstrap(exact).to_json(),
            "edit_similarity": bootstrap(similar).to_json(),
            "pass_rate": bootstrap(passed).to_json(),
        }
    reachable = [
        float(any(is_exact(row["text"].split("\n")[0], task) for row in record["rows"]))
        for record, task in zip(records, tasks, strict=True)
    ]
    found["any"] = {"exact_match": bootstrap(reachable).to_json()}
    return found


def gains(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """What each way adds to the exact match of the one before it: shares of the tasks, from `raw` to `server`."""
    exact = [found[way]["exact_match"]["mean"] for way in WAYS]
    return {way: round(b - a, 6) for way, a, b in zip(WAYS[1:], exact, exact[1:], strict=False)}


def write_report(
    folder: Folder, records: Sequence[Mapping[str, Any]], tasks: Sequence[Task], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the report's three files; the JSON's content."""
    found = figures(records, tasks)
    gain = found["server"]["exact_match"]["mean"] - found["raw"]["exact_match"]["mean"]
    data: dict[str, Any] = {
        "evaluation": "infilling",
        **about,
        "tasks": len(tasks),
        "ways": found,
        "gain_exact_match": round(gain, 6),
        "gain_of_each_part": gains(found),
        "published": {"pass_rate": INFILLING},
    }
    report.write(folder.path, data, _page(data), lambda axes: _draw(axes, found))
    return data


WAY_NAMES = {
    "raw": "raw left to right, greedy",
    "prompt": "the server's prompt and filters, its first row",
    "mean": "… its best row by mean log-probability",
    "server": "**the server: prompt, filters, ranking**",
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
    rows = [[text, *(cell(way, name) for name in names), gain(way)] for way, text in WAY_NAMES.items()]
    rows += [[f"{name} (published)", "–", "–", f"{rate:.1f}", "–"] for name, rate in INFILLING.items()]
    return [
        f"# Single-line infilling: {data['model']}",
        "",
        (
            f"{data['tasks']} tasks; percent, with the interval that 95 % of bootstrap means fall into. The server "
            f"gains {100 * data['gain_exact_match']:+.2f} points of exact match over the same model by itself."
        ),
        "",
        *report.table(["", "exact match", "edit similarity", "pass rate", "exact match gained"], rows),
        "",
        f"Judged behind {data['walls']['level']}: " + "; ".join(data["walls"]["protection"].values()) + ".",
    ]


def _draw(axes: Axes, found: Mapping[str, Mapping[str, Any]]) -> None:
    labels = {
        "raw": "raw greedy",
        "prompt": "prompt, filters",
        "mean": "+ log-probability",
        "server": "server",
    }
    for offset, name in enumerate(("exact_match", "edit_similarity", "pass_rate")):
        values = [100 * found[way][name]["mean"] for way in labels]
        places = [n + 0.27 * (offset - 1) for n in range(len(labels))]
        axes.bar(places, values, width=0.25, label=name.replace("_", " "))
    axes.set_xticks(range(len(labels)), list(labels.values()))
    axes.set_ylabel("percent")
    axes.set_title("Single-line infilling")
    axes.legend(fontsize=8)


def settings_of(settings: InfillingSettings, data: Path) -> dict[str, Any]:
    """The settings as the folder keeps them."""
    return asdict(settings) | {"data": data.name}
