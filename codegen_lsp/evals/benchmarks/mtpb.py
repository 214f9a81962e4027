"""The Multi-Turn Programming Benchmark: 115 programs, each specified in several steps (Nijkamp et al., section 4).

Knows the problems, the conversation that samples one case, and the report; `mtpb_judge.py` knows how a program is
judged. Follows the reference's scripts step by step. The single-turn variant is in the paper but not in those
scripts, so it is our reading: all steps first, as one block of comments, and then one sample with the tokens of all
turns, cut only at end of text, a line-start docstring or two empty lines, since one program may hold several
functions, prints and comments.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from codegen_lsp.evals.benchmarks.published import MTPB_MONO, SOURCE
from codegen_lsp.evals.harness import report
from codegen_lsp.evals.harness.estimators import Estimate, bootstrap
from codegen_lsp.evals.harness.judging import Judges
from codegen_lsp.evals.harness.records import DataError, EvaluationError, Folder, read_lines
from codegen_lsp.evals.harness.retrying_client import ReportProgress, RetryingClient, seed_of, together
from codegen_lsp.evals.harness.truncation import is_over, truncate, truncate_program
from codegen_lsp.evals.sandbox.sandbox import Limits, Result
from codegen_lsp.wire.requests import CompletionRequest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Turns = Literal["multi", "single"]
Judge = Literal["faithful", "repaired"]

OPENING = "# Import libraries.\n\nimport numpy as np\n\n"
"""What every program starts with."""
DRIVER = Path(__file__).with_name("mtpb_judge.py")
DEFAULT_TOKENS = 256
"""Tokens of a turn where the problem does not say."""
LIMITS = Limits(memory=2**30, output=2**20)


@dataclass(frozen=True)
class Case:
    """One program to write: the steps with their values filled in, and what it must print."""

    problem: str
    number: int
    """0-based place among the problem's cases."""
    category: str
    prompts: tuple[str, ...]
    gold: Any
    max_tokens: int = DEFAULT_TOKENS

    @property
    def key(self) -> str:
        """`12/0`."""
        return f"{self.problem}/{self.number}"


@dataclass(frozen=True)
class MtpbSettings:
    """What makes two runs the same."""

    samples: int = 40
    """Samples a case, as in the paper."""
    turns: Turns = "multi"
    temperature: float = 0.2
    top_p: float = 0.95
    seed: int = 0
    seconds: float = 20.0
    """Time limit of one program."""
    problems: int = 0
    """Only so many problems, from the first; 0 for all."""
    cases: int = 0
    """Only so many of each problem's cases, from the first; 0 for all."""

    def __post_init__(self) -> None:
        if self.samples < 1 or self.seconds <= 0 or min(self.problems, self.cases) < 0:
            raise EvaluationError("samples and seconds must be positive")
        if self.turns not in ("multi", "single"):
            raise EvaluationError(f"turns {self.turns!r} is neither multi nor single")
        if not 0 <= self.temperature <= 2:
            raise EvaluationError("temperatures go from 0 to 2")


def read_cases(path: Path, problems: int = 0, cases: int = 0) -> list[Case]:
    """The cases in the benchmark's file, problems in order of their numbers.

    Inputs and outputs are paired until one of them ends (problem 57 has an output too many).

    Raises:
        DataError: the file is missing, or is not the benchmark's.
    """
    entries = list(read_lines(path))
    try:
        entries.sort(key=lambda entry: int(entry["id"]))
        found = [case for entry in entries[: problems or None] for case in _cases(entry)[: cases or None]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{path} is not the benchmark's mtpb.jsonl ({type(error).__name__}: {error})"
        ) from error
    if not found:
        raise DataError(f"{path} holds no problem")
    return found


def _cases(entry: Mapping[str, Any]) -> list[Case]:
    pairs = zip(entry["inputs"], entry["outputs"], strict=False)
    return [
        Case(
            problem=str(entry["id"]),
            number=number,
            category=entry["category"],
            prompts=tuple(prompt.format(**values) for prompt in entry["prompts"]),
            gold=gold,
            max_tokens=entry.get("max_gen_length", DEFAULT_TOKENS),
        )
        for number, (values, gold) in enumerate(pairs)
    ]


def comment(prompt: str) -> str:
    """A step as the model reads it."""
    return f"# {prompt}\n"


async def converse(asker: RetryingClient, case: Case, settings: MtpbSettings, index: int) -> str:
    """The program that sample `index` writes for a case, in as many turns as the case has steps, or in one.

    Every turn continues the whole program so far; its code is cut by `truncate`, and two line ends follow it.
    """
    multi = settings.turns == "multi"
    steps = [comment(p) for p in case.prompts] if multi else ["".join(map(comment, case.prompts))]
    program = OPENING
    for turn, step in enumerate(steps):
        program += step
        request = CompletionRequest(
            prompts=(program,),
            max_tokens=case.max_tokens * (1 if multi else len(case.prompts)),
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=seed_of("mtpb", settings.seed, settings.turns, case.key, turn) + index,
            stop=("\n\n\n",),
        )
        text = await asker.continuation(request, is_over if multi else None)
        program += (truncate(text) if multi else truncate_program(text)) + "\n\n"
    return program


async def judge(judges: Judges, program: str, gold: Any, seconds: float) -> tuple[bool, bool, str]:
    """Whether a program prints what is expected, as the reference says and as repaired; and what it printed or why
    not."""
    limits = Limits(seconds + 5, LIMITS.memory, output=LIMITS.output)
    payload = {"gold": gold, "seconds": seconds}
    result = await judges.run(
        program, driver=DRIVER.read_text(encoding="utf-8"), payload=payload, limits=limits
    )
    return _verdicts(result)


def _verdicts(result: Result) -> tuple[bool, bool, str]:
    value = result.value
    if not result.passed or not isinstance(value, dict):
        return False, False, result.verdict()
    message = value.get("message") or value.get("printed") or ""
    return value.get("faithful") is True, value.get("repaired") is True, str(message)


async def evaluate(
    asker: RetryingClient,
    judges: Judges,
    folder: Folder,
    settings: MtpbSettings,
    cases: Sequence[Case],
    progress: ReportProgress,
) -> list[dict[str, Any]]:
    """Write and judge what the folder doesn't hold yet; all verdicts.

        OUT/samples.jsonl     {"id", "case", "index", "completions"}
        OUT/verdicts.jsonl    {"id", "case", "index", "faithful", "repaired", "message"}

    Raises:
        WireError: the engine refused, or does not come back; what is finished is in the folder.
        SandboxError: nothing can be judged safely.
    """
    samples, verdicts = folder.log("samples"), folder.log("verdicts")
    programs: dict[str, dict[int, str]] = defaultdict(dict)
    for record in samples.records:
        programs[f"{record['id']}/{record['case']}"][record["index"]] = record["completions"]
    judged = {(f"{r['id']}/{r['case']}", r["index"]) for r in verdicts.records}
    total = len(cases) * settings.samples
    progress(len(judged), total)

    async def one(case: Case, index: int) -> None:
        if index not in programs[case.key]:
            program = await converse(asker, case, settings, index)
            samples.append({"id": case.problem, "case": case.number, "index": index, "completions": program})
            programs[case.key][index] = program
        faithful, repaired, message = await judge(
            judges, programs[case.key][index], case.gold, settings.seconds
        )
        record = {"id": case.problem, "case": case.number, "index": index, "faithful": faithful}
        verdicts.append({**record, "repaired": repaired, "message": message})
        judged.add((case.key, index))
        progress(len(judged), total)

    missing = [(c, i) for c in cases for i in range(settings.samples) if (c.key, i) not in judged]
    for start in range(0, len(missing), _AT_ONCE):
        await together(one(case, index) for case, index in missing[start : start + _AT_ONCE])
    return verdicts.records


_AT_ONCE = 64
"""Conversations under way; more would only hold more half-written programs in memory."""


@dataclass(frozen=True)
class Rates:
    """Pass rates of one judge."""

    total: Estimate
    categories: Mapping[str, tuple[int, float]]
    """Problems, and rate, by category."""
    turns: Mapping[int, tuple[int, float]]
    """Problems, and rate, by the number of steps."""

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "pass_rate": self.total.to_json(),
            "categories": {k: {"problems": n, "pass_rate": r} for k, (n, r) in self.categories.items()},
            "turns": {str(k): {"problems": n, "pass_rate": r} for k, (n, r) in self.turns.items()},
        }


def rates(verdicts: Sequence[Mapping[str, Any]], cases: Sequence[Case], judge_name: Judge) -> Rates:
    """Pass rates over problems: each problem's is the share of its samples, over all its cases, that pass."""
    by_problem: dict[str, list[bool]] = defaultdict(list)
    for record in verdicts:
        by_problem[str(record["id"])].append(record[judge_name])
    known = {case.problem: case for case in cases}
    passed = {p: sum(v) / len(v) for p, v in by_problem.items() if p in known}
    categories: dict[str, list[float]] = defaultdict(list)
    turns: dict[int, list[float]] = defaultdict(list)
    for problem, rate in passed.items():
        categories[known[problem].category].append(rate)
        turns[len(known[problem].prompts)].append(rate)
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
    """Write the report's three files; the JSON's content. `judge_name` is the one that leads."""
    found: dict[Judge, Rates] = {name: rates(verdicts, cases, name) for name in ("faithful", "repaired")}
    data: dict[str, Any] = {
        "evaluation": "mtpb",
        **about,
        "judge": judge_name,
        "faithful": found["faithful"].to_json(),
        "repaired": found["repaired"].to_json(),
        "published": {"source": SOURCE, "pass_rate": MTPB_MONO},
    }
    page = _page(data, found, judge_name)
    report.write(folder.path, data, page, lambda axes: _draw(axes, found[judge_name], data))
    return data


def _page(data: Mapping[str, Any], found: Mapping[Judge, Rates], judge_name: Judge) -> list[str]:
    settings, rows = data["settings"], found[judge_name]
    head = [f"**{data['model']}, {name} judge**" for name in found]
    totals = [[h, settings["turns"], r.total.percent()] for h, r in zip(head, found.values(), strict=True)]
    published = [
        [name, kind, f"{figures[kind]:.2f}"] for name, figures in MTPB_MONO.items() for kind in figures
    ]
    return [
        f"# MTPB: {data['model']}",
        "",
        (
            f"Pass rate in percent, {settings['turns']}-turn, with the interval that 95 % of bootstrap means over the "
            f"problems fall into. {settings['samples']} samples a case, temperature {settings['temperature']:g}, top-p "
            f"{settings['top_p']:g}. The paper's figures ({SOURCE}) are CodeGen-Mono's with 40 samples. The faithful "
            "judge is the reference's, which can't compare dicts and None (7 of 575 cases); the repaired one can. The "
            "single-turn variant is our reading: the reference's scripts have none."
        ),
        "",
        *report.table(["", "turns", "pass rate"], [*totals, *published]),
        "",
        *report.table(
            ["category", "problems", "pass rate"],
            [[name, n, f"{100 * rate:.2f}"] for name, (n, rate) in rows.categories.items()],
        ),
        "",
        *report.table(
            ["steps", "problems", "pass rate"],
            [[steps, n, f"{100 * rate:.2f}"] for steps, (n, rate) in rows.turns.items()],
        ),
        "",
        f"Judged behind {data['walls']['level']}: " + "; ".join(data["walls"]["protection"].values()) + ".",
    ]


def _draw(axes: Axes, found: Rates, data: Mapping[str, Any]) -> None:
    names = [*found.categories, *(f"{n} steps" for n in found.turns)]
    values = [100 * r for _, r in [*found.categories.values(), *found.turns.values()]]
    axes.barh(names, values)
    axes.invert_yaxis()
    axes.axvline(100 * found.total.mean, color="black", label=f"all: {100 * found.total.mean:.1f} %")
    published = MTPB_MONO["350M-mono"][data["settings"]["turns"]]
    axes.axvline(published, color="0.6", linestyle="--", label=f"350M-mono in the paper: {published} %")
    axes.set_xlim(left=0)
    axes.set_xlabel("pass rate, percent")
    axes.set_title(f"MTPB, {data['settings']['turns']}-turn")
    axes.legend(fontsize=8)


def settings_of(settings: MtpbSettings, data: Path) -> dict[str, Any]:
    """The settings as the folder keeps them."""
    return asdict(settings) | {"data": data.name}
