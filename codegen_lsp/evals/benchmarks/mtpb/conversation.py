"""Hold MTPB's conversations and judge the programs that come out, going on from what the evaluation's folder holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codegen_lsp.evals.benchmarks.mtpb.cases import LIMITS, OPENING, Case, MtpbSettings
from codegen_lsp.evals.harness.judging import Judges
from codegen_lsp.evals.harness.records import Folder
from codegen_lsp.evals.harness.retrying_client import ReportProgress, RetryingClient, seed_of, together
from codegen_lsp.evals.harness.truncation import is_over, truncate, truncate_program
from codegen_lsp.evals.sandbox.sandbox import Judging, Limits, Result
from codegen_lsp.wire.requests import CompletionRequest

DRIVER, COMPARISON = (Path(__file__).with_name(name) for name in ("driver.py", "comparison.py"))


def comment(prompt: str) -> str:
    """Return a step as the model reads it."""
    return f"# {prompt}\n"


async def converse(client: RetryingClient, case: Case, settings: MtpbSettings, index: int) -> str:
    """Return the program that sample `index` writes for a case, in one turn for each step, or in one turn.

    Every turn continues the program so far; its code is cut by `truncate` and followed by two line ends.
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
        text = await client.continuation(request, is_over if multi else None)
        program += (truncate(text) if multi else truncate_program(text)) + "\n\n"
    return program


async def judge(judges: Judges, program: str, gold: Any, seconds: float) -> tuple[bool, bool, str]:
    """Return the faithful verdict, the repaired verdict, and what the program printed or why it failed."""
    limits = Limits(seconds + 5, LIMITS.memory, output=LIMITS.output)
    payload = {"kind": type(gold).__name__, "seconds": seconds}
    judging = Judging(COMPARISON.read_text(encoding="utf-8"), gold)
    result = await judges.run(
        program, driver=DRIVER.read_text(encoding="utf-8"), payload=payload, judging=judging, limits=limits
    )
    return _verdicts(result)


def _verdicts(result: Result) -> tuple[bool, bool, str]:
    value = result.value
    if not result.passed or not isinstance(value, dict):
        return False, False, result.verdict()
    message = value.get("message") or value.get("printed") or ""
    return value.get("faithful") is True, value.get("repaired") is True, str(message)


async def evaluate(
    client: RetryingClient,
    judges: Judges,
    folder: Folder,
    settings: MtpbSettings,
    cases: Sequence[Case],
    progress: ReportProgress,
) -> list[dict[str, Any]]:
    """Write and judge what the folder doesn't hold yet; return all verdicts.

        OUT/samples.jsonl     {"id", "case", "index", "completions"}
        OUT/verdicts.jsonl    {"id", "case", "index", "faithful", "repaired", "message"}

    Raises:
        WireError: the engine refuses, or does not recover; finished work is in the folder.
        SandboxError: the sandbox can't confine the programs.
    """
    samples, verdicts = folder.log("samples"), folder.log("verdicts")
    programs: dict[str, dict[int, str]] = defaultdict(dict)
    name = ("id", str), ("case", int), ("index", int)
    for problem, number, index, program in samples.rows(*name, ("completions", str)):
        programs[f"{problem}/{number}"][index] = program
    rows = verdicts.rows(*name, ("faithful", bool), ("repaired", bool))
    judged = {(f"{problem}/{number}", index) for problem, number, index, _, _ in rows}
    total = len(cases) * settings.samples
    progress(len(judged), total)

    async def write_and_judge(case: Case, index: int) -> None:
        if index not in programs[case.key]:
            program = await converse(client, case, settings, index)
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
        await together(write_and_judge(case, index) for case, index in missing[start : start + _AT_ONCE])
    return verdicts.records


_AT_ONCE = 64
"""Concurrent conversations; more would only hold more half-written programs in memory."""
