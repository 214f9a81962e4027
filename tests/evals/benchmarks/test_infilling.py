"""Single-line infilling: the tasks, the server's way against the raw model's, and going on after a stop."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.scripted_client import ScriptedClient, about, drawn_page, report_after_stops

from codegen_lsp.evals.benchmarks import infilling
from codegen_lsp.evals.benchmarks.infilling import Filler, InfillingSettings, Task
from codegen_lsp.evals.harness.judging import Judges
from codegen_lsp.evals.harness.records import DataError, EvaluationError, Folder
from codegen_lsp.evals.harness.retrying_client import RetryingClient
from codegen_lsp.evals.sandbox.sandbox import Limits, Sandbox
from codegen_lsp.wire.answers import Completion, FillInfo, Logprobs, ModelInfo
from codegen_lsp.wire.requests import CompletionRequest

TASKS = [
    Task(
        "S/0",
        "f",
        "def f(x):\n",
        "    return y\n",
        "    y = x + 1\n",
        "def check(f):\n    assert f(1) == 2\n",
    ),
    Task("S/1", "g", "def g(x):\n    y = x\n", "", "    return y\n", "def check(f):\n    assert f(1) == 1\n"),
]


def test_reads_the_benchmark(infilling_data: Path) -> None:
    tasks = infilling.read_tasks(infilling_data)
    assert len(tasks) == 1033
    assert len({t.task_id for t in tasks}) == 1033
    some = infilling.read_tasks(infilling_data, 10)
    assert len(some) == 10
    assert some[5] == tasks[516]


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_lines_taken_out_pass(infilling_data: Path, walls: Sandbox) -> None:
    tasks = infilling.read_tasks(infilling_data)
    failed = {}
    with Judges(walls, 2) as judges:
        for task in tasks:
            result = await judges.run(task.program(task.line.rstrip("\n")), limits=Limits(seconds=20))
            if not result.passed:
                failed[task.task_id] = result.verdict()
    assert failed == {}


@pytest.mark.parametrize("entry", [{"task_id": "x"}, {}])
def test_other_files_are_refused(tmp_path: Path, entry: dict[str, str]) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(entry).encode() + b"\n"))
    with pytest.raises(DataError, match="is not the single-line infilling benchmark"):
        infilling.read_tasks(path)


def test_cursor_stands_on_the_empty_line() -> None:
    cursor = TASKS[0].cursor()
    assert cursor.line == 1
    assert cursor.line_prefix == ""
    assert cursor.line_suffix == ""
    assert cursor.prefix + cursor.suffix == "def f(x):\n\n    return y\n"


@pytest.mark.parametrize(
    ("line", "exact"),
    [
        ("    y = x + 1", True),
        ("    y = x + 1  \n", True),
        ("y = x + 1", False),
        ("    y = x+1", False),
        ("", False),
    ],
)
def test_exact_match_minds_indentation_and_no_line_end(line: str, exact: bool) -> None:
    assert infilling.is_exact(line, TASKS[0]) is exact


def filler(engine: ScriptedClient, fill: FillInfo | None = None) -> Filler:
    client = RetryingClient(engine, pause=0)
    info = ModelInfo("fake", 2048, fill=fill)
    return Filler(client, engine, info, InfillingSettings())  # type: ignore[arg-type]


async def test_raw_is_greedy_and_its_first_line_that_holds_something() -> None:
    engine = ScriptedClient(lambda *_: "\n\n    y = 1\n    z = 2\n")
    assert await filler(engine).raw(TASKS[0]) == "    y = 1"
    request = engine.requests[0]
    assert request.prompts == (TASKS[0].prefix,)
    assert (request.temperature, request.n, request.heal) == (0.0, 1, False)


async def test_server_goes_its_own_way() -> None:
    """Its prompt, its decoding options, its filters: a candidate that repeats the next line is dropped."""
    task = Task("S/2", "h", "def h(x):\n    y = x\n", "    z = y\n    return z\n", "    y += 1\n", "")
    lines = ["    z = y", "    y += 1", "    y += 2", "    y += 1", *[""] * 5]

    def write(prompt: str, seed: int, request: CompletionRequest) -> str:
        hinted = prompt.endswith("    ")
        return lines[seed] if request.stream and not hinted else ""

    engine = ScriptedClient(write)
    rows = await filler(engine).server(task)
    request, hinted, scoring = engine.requests
    assert request.branch
    assert (request.n, hinted.n) == (9, 1)
    assert [r["reason"] for r in rows] == ["repeats-suffix", None, None, "duplicate", *["empty"] * 6]
    record = {"raw": "    z = 3", "rows": rows}
    chosen = infilling.choices(record, TASKS[0])
    assert chosen["raw"] == "    z = 3"
    assert chosen["prompt"] == ""
    assert chosen["server"] == "    y += 1"
    assert scoring.echo
    assert scoring.max_tokens == 0


async def test_a_slow_engine_ranks_like_a_fast_one() -> None:
    """The editors' pipeline leaves the second request out if it takes more than a second; an evaluation waits."""

    class Slow(ScriptedClient):
        async def complete(self, request: CompletionRequest) -> Completion:
            answer = await super().complete(request)
            if not request.echo:
                return answer
            await asyncio.sleep(1.2)
            logprobs = Logprobs(("a", "b"), (None, -1.0), (), (0, 10_000))
            return replace(answer, choices=tuple(replace(c, logprobs=logprobs) for c in answer.choices))

    lines = ["y += 1", "y += 2", "y = 3", "y = 1", "y = 2"]
    task = Task("S/2", "h", "def h(x):\n    y = x\n", "    z = y\n    return z\n", "    y += 1\n", "")
    rows = await filler(Slow(lambda _, seed, request: lines[seed % 5])).server(task)
    shown = [row for row in rows if row["place"] is not None]
    assert len(shown) > 1
    assert all(row["suffix_logprob"] == -1.0 for row in shown)


async def test_the_code_below_says_how_the_line_starts() -> None:
    engine = ScriptedClient(lambda *_: " x + 1")
    rows = await filler(engine).server(TASKS[0])
    free, hinted = engine.requests[:2]
    assert free.prompts == ("def f(x):\n",)
    assert (hinted.prompts, hinted.n) == (("def f(x):\n    y =",), 1)
    assert rows[-1]["text"] == "    y = x + 1"


def writer(prompt: str, seed: int, request: CompletionRequest) -> str:
    if prompt.endswith("y ="):
        return " x + 1"
    return "    return y" if request.branch else "    pass\n"


async def run(
    folder: Path,
    engine: ScriptedClient,
    walls: Sandbox,
    fill: FillInfo | None = None,
    tasks: Sequence[Task] = TASKS,
) -> dict[str, Any]:
    with Folder(folder, {"model": "fake"}) as opened, Judges(walls, 2) as judges:
        records = await infilling.evaluate(filler(engine, fill), judges, opened, tasks, lambda *_: None)
        settings = infilling.settings_of(InfillingSettings(), Path("data.jsonl"))
        return infilling.write_report(opened, records, tasks, about(settings))


async def test_evaluates_and_goes_on(tmp_path: Path, walls: Sandbox) -> None:
    whole = await run(tmp_path / "whole", ScriptedClient(writer), walls)
    assert whole["ways"]["raw"]["exact_match"]["mean"] == 0.0
    assert whole["ways"]["server"]["exact_match"]["mean"] == 1.0
    assert whole["ways"]["server"]["pass_rate"]["mean"] == 1.0
    assert whole["gain_exact_match"] == 1.0
    assert whole["gain_of_each_part"] == {"prompt": 0.5, "mean": 0.5, "server": 0.0}
    page = drawn_page(tmp_path / "whole")
    assert "+100.00 points" in page
    assert "(published)" in page
    parts = await report_after_stops(writer, 3, lambda engine: run(tmp_path / "parts", engine, walls))
    assert parts == whole


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"max_tokens": 0}, {"seconds": 0}, {"tasks": -1}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(EvaluationError):
        InfillingSettings(**wrong)


async def test_both_ways_side_by_side(tmp_path: Path, walls: Sandbox) -> None:
    """A model that fills in the middle is asked left to right too, alone and through the server."""

    def write(prompt: str, seed: int, request: CompletionRequest) -> str:
        line = "    y = x + 1" if prompt.endswith("def f(x):\n") else "    return y"
        return f"{line}\n" if request.suffix.strip() else "    pass\n"

    engine = ScriptedClient(write)
    report = await run(tmp_path, engine, walls, FillInfo("Tiny", "psm", 3))
    exact = {way: values["exact_match"]["mean"] for way, values in report["ways"].items()}
    # The second gap has nothing after it.
    assert exact["fill"] == 0.5
    assert exact["server"] == 0.5
    assert exact["raw"] == exact["left_to_right"] == 0.0
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "raw with the text after the cursor" in page
    assert "the server, left to right" in page
    again = await run(tmp_path, ScriptedClient(lambda *_: "unasked"), walls, FillInfo("Tiny", "psm", 3))
    assert again["ways"] == report["ways"]


LINES = Task(
    "M/0",
    "f",
    "def f(x):\n",
    "    return z\n",
    "    y = x\n    z = y\n",
    "def check(f):\n    assert f(1) == 1\n",
)
SPAN = Task("R/0", "f", "def f(x):\n    return x ", " 1\n", "+", "def check(f):\n    assert f(1) == 2\n")


async def test_published_figures_of_single_lines_are_not_set_beside_other_gaps(
    tmp_path: Path, walls: Sandbox
) -> None:
    report = await run(tmp_path, ScriptedClient(writer), walls, tasks=(*TASKS, SPAN))
    assert report["published"] == {"pass_rate": {}}
    assert "(published)" not in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("task", "kind"), [(TASKS[0], "line"), (LINES, "lines"), (SPAN, "span")])
def test_what_was_taken_out(task: Task, kind: str) -> None:
    assert task.kind == kind
    cursor = task.cursor()
    assert cursor.prefix + task.solution + cursor.suffix == task.prefix + task.line + task.suffix
    assert task.program(task.solution).startswith(task.prefix + task.line + task.suffix)


async def test_several_lines_and_spans() -> None:
    """Left to right nothing says where a gap ends but the text after it."""
    text = "    y = x\n    z = y\n    return z\n"
    assert await filler(ScriptedClient(lambda *_: text)).raw(LINES) == "    y = x\n    z = y"
    fills = filler(ScriptedClient(lambda *_: "+"), FillInfo("Tiny", "spm", 3))
    assert await fills.fill(SPAN) == "+"
    rows = await fills.server(SPAN)
    assert infilling.choices({"raw": "", "rows": rows}, SPAN)["server"] == "+"
