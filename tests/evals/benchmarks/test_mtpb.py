"""MTPB: conversations, every rule of the judge, hand-written programs for its problems, and the report."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pytest
from support.mtpb_programs import PROGRAMS
from support.scripted_client import ScriptedClient, about, drawn_page, report_after_stops

from codegen_lsp.evals.benchmarks import mtpb
from codegen_lsp.evals.benchmarks.mtpb import Case, MtpbSettings, comparison, driver
from codegen_lsp.evals.harness.judging import Judges
from codegen_lsp.evals.harness.records import DataError, EvaluationError, Folder, read_lines
from codegen_lsp.evals.harness.retrying_client import RetryingClient
from codegen_lsp.evals.sandbox.confined import claims
from codegen_lsp.evals.sandbox.sandbox import Sandbox, SandboxError
from codegen_lsp.wire.errors import RequestError

CASE = Case("7", 0, "math", ("Assign 2 to x.", "Double x.", "Print x."), 4, 32)
REFERENCE_CANNOT_PASS = {("41", 1), ("41", 4), *(("89", n) for n in range(5))}


@pytest.fixture(scope="module")
def judges() -> Iterator[Judges]:
    try:
        sandbox = Sandbox(mtpb.LIMITS, packages=True)
    except SandboxError as error:
        pytest.skip(str(error))
    with Judges(sandbox, 2) as opened:
        yield opened


# Cases and conversations ----------------------------------------------------------------------------------


def test_reads_the_benchmark(mtpb_data: Path) -> None:
    cases = mtpb.read_cases(mtpb_data)
    assert len({c.problem for c in cases}) == 115
    assert len(cases) == 575
    turns = {c.problem: len(c.prompts) for c in cases}
    assert sum(turns.values()) == 514
    assert [c.number for c in cases if c.problem == "57"] == [0, 1, 2, 3, 4]
    assert {c.max_tokens for c in cases} == {128, 256, 512}
    assert not any("{A}" in p for c in cases for p in c.prompts)
    assert len({c.problem for c in mtpb.read_cases(mtpb_data, 3)}) == 3


def test_values_are_filled_in_as_python_writes_them(tmp_path: Path) -> None:
    entry = {
        "id": "1",
        "category": "math",
        "prompts": ["Set x to {x}.", 'Return {{"a": {x}}}.'],
        "inputs": [{"x": [1, None, "é"]}, {"x": True}],
        "outputs": [1, 2, 3],
    }
    path = tmp_path / "mtpb.jsonl"
    path.write_text(json.dumps(entry) + "\n", encoding="utf-8")
    first, second = mtpb.read_cases(path)
    assert first.prompts == ("Set x to [1, None, 'é'].", "Return {\"a\": [1, None, 'é']}.")
    assert second.prompts[0] == "Set x to True."
    assert second.gold == 2
    assert second.max_tokens == 256


@pytest.mark.parametrize("text", ["", "{}\n", '{"id": "x", "inputs": []}\n', '{"id": 1, "inputs": 3}\n'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mtpb.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError):
        mtpb.read_cases(path)


async def test_every_turn_continues_the_whole_program() -> None:
    answers = ["x = 2\n\n\n\nrubbish", "x *= 2\n# Print x.\nprint(x)", "print(x)\nprint(x)\n"]
    engine = ScriptedClient(lambda prompt, seed, request: answers[len(engine.requests) - 1])
    program = await mtpb.converse(RetryingClient(engine), CASE, MtpbSettings(), 0)
    opening = "# Import libraries.\n\nimport numpy as np\n\n"
    first = f"{opening}# Assign 2 to x.\n"
    second = f"{first}x = 2\n\n# Double x.\n"
    third = f"{second}x *= 2\n\n\n# Print x.\n"
    assert [r.prompts[0] for r in engine.requests] == [first, second, third]
    assert program == f"{third}print(x)\n\n\n"
    assert {(r.max_tokens, r.temperature, r.top_p) for r in engine.requests} == {(32, 0.2, 0.95)}
    assert len({r.seed for r in engine.requests}) == 3


async def test_single_turn_reads_all_steps_first() -> None:
    code = "x = 2\n# double\nx *= 2\nprint(x)\nprint(x)\n"
    engine = ScriptedClient(lambda *_: code + "\n\n\nrubbish")
    program = await mtpb.converse(RetryingClient(engine), CASE, MtpbSettings(turns="single"), 0)
    assert program == f"{mtpb.OPENING}# Assign 2 to x.\n# Double x.\n# Print x.\n{code.rstrip()}\n\n"
    assert [r.max_tokens for r in engine.requests] == [96]


async def test_program_that_fills_the_context_goes_on_with_nothing() -> None:
    engine = ScriptedClient(lambda *_: "x = 2\n")
    engine.errors = [RequestError("the prompt does not fit the context", param="prompt")]
    program = await mtpb.converse(RetryingClient(engine), CASE, MtpbSettings(), 0)
    assert program.startswith(f"{mtpb.OPENING}# Assign 2 to x.\n\n\n# Double x.\nx = 2\n")


# The judge's rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "rewritten"),
    [
        ("x = 1\nx", "x = 1\nprint(x)"),
        ("x = f(1)", "x = print(f(1))"),
        ("x += 1", "x += print(1)"),
        ("x = 1\nprint(x)", None),
        ("x = 1\nprint_all(x)", None),
        ("x = print(1)", None),
        ("y.print(x)", "print(y.print(x))"),
        ("for x in y:\n    print(x)", None),
        ("def f():\n    pass", None),
        ("x: int", None),
        ("import math", None),
        ("", None),
        ("x = (", None),
        ("x = '\\ud800'\0", None),
    ],
)
def test_rule_1_last_value_is_printed(program: str, rewritten: str | None) -> None:
    assert driver.with_last_value_printed(program) == (program if rewritten is None else rewritten)


@pytest.mark.parametrize(
    ("program", "passes"),
    [
        ("print(1)\nprint(4)", True),
        ("print(4)\nprint(1)", False),
        ("print(4, 5)", True),
        ("print(4)\n1 / 0", True),
        ("print(4)\nx = 5", False),
        ("def f():\n    print(4)\n    raise ValueError\nf()", True),
        ("1 / 0\nprint(4)", False),
        ("print()", False),
        ("print(4)\nprint()", False),
        ("x = 4", True),
        ("x = 4\nif x:\n    pass", False),
        ("import sys\nprint(4)\nsys.exit(0)", False),
        ("print(4)\nwhile True:\n    pass", True),
        ("while True:\n    print(4)", True),
        ("if __name__ == '__main__':\n    print(4)", True),
        ("import os\nprint(4)\nos._exit(0)", False),
        ("print(4, sep=3)", True),
        ("x = [4]\nprint(x[0])\nx[0] = 5\nfor _ in x: pass", True),
        ("print(4", False),
    ],
)
async def test_rule_2_last_print_counts(judges: Judges, program: str, passes: bool) -> None:
    faithful, repaired, message = await mtpb.judge(judges, program, 4, 1)
    assert (faithful, repaired) == (passes, passes), message


async def test_rule_2_printed_object_is_judged_as_it_became(judges: Judges) -> None:
    program = "x = [1]\nprint(x)\nx.append(2)\nfor _ in x: pass"
    assert (await mtpb.judge(judges, program, [1, 2], 5))[0]


def judged(output: object, gold: object) -> tuple[bool, bool]:
    """Both verdicts on an output, on its way from the program's process to the judge."""
    try:
        result = {"output": driver.for_judge(output, type(gold).__name__)}
        verdict = comparison.judge(claims.load(pickle.dumps(result, 4)), gold)
    except (TypeError, ValueError, AttributeError, pickle.UnpicklingError):
        return False, False
    return verdict["faithful"], verdict["repaired"]


class Series:
    """Quacks like a pandas series."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def to_numpy(self) -> np.ndarray[Any, Any]:
        return np.array(self.values)


Series.__module__ = "pandas.core.series"


@pytest.mark.parametrize(
    ("output", "gold", "passes"),
    [
        # 3: series, lists of tuples, numpy.
        (Series([35.5, 66.5]), [35.5, 66.5], True),
        (Series([35.5, 66.500000001]), [35.5, 66.5], True),
        (Series([35.5, 66.6]), [35.5, 66.5], False),
        ([("a", "b"), ("b", "c")], [["a", "b"], ["b", "c"]], True),
        ([["a"], ("b",)], [["a"], ["b"]], False),
        ([], [], True),
        (np.int64(4), 4, True),
        (np.uint8(4), 4, True),
        (np.float32(0.5), 0.5, True),
        (np.bool_(True), True, True),
        (np.array([1, 2]), [1, 2], True),
        (np.array([[1], [2]]), [[1], [2]], True),
        # 4: casts to the type of the expected value; booleans as strings.
        ("4", 4, True),
        (4, "4", True),
        (4.9, 4, True),
        ((1, 2), [1, 2], True),
        ({1, 2}, [1, 2], True),
        ("abc", ["a", "b", "c"], True),
        ("False", False, True),
        ("True", True, True),
        (0, False, False),
        (True, 1, True),
        (1, True, False),
        ("four", 4, False),
        (None, 4, False),
        (None, "None", True),
        # 5: floats within 1e-6, nested ones exactly.
        (0.3000001, 0.3, True),
        (0.30001, 0.3, False),
        (1, 1.0000001, True),
        ([0.30000001], [0.3], False),
        (float("nan"), 0.3, False),
        ("a", "a", True),
        ("a ", "a", False),
    ],
)
def test_rules_3_to_5_comparison(output: object, gold: object, passes: bool) -> None:
    assert judged(output, gold) == (passes, passes)


@pytest.mark.parametrize(
    ("output", "gold", "passes"),
    [
        ({"a": [1]}, {"a": [1]}, True),
        ([("a", [1])], {"a": [1]}, True),
        ({"a": [2]}, {"a": [1]}, False),
        (None, None, True),
        ("None", None, True),
        (0, None, False),
        ("", None, False),
    ],
)
def test_rule_6_only_the_repaired_judge_compares_dicts_and_none(
    output: object, gold: object, passes: bool
) -> None:
    with pytest.raises((TypeError, ValueError)):
        comparison.matches(output, gold)
    assert judged(output, gold) == (False, passes)


class AlwaysEqual:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


@pytest.mark.parametrize("output", [AlwaysEqual(), [AlwaysEqual()], {"a": AlwaysEqual()}])
def test_an_object_that_is_equal_to_everything_is_not_the_expected_value(output: object) -> None:
    assert judged(output, [1]) == judged(output, {"a": 1}) == (False, False)


async def test_the_expected_value_is_not_in_the_memory_of_the_program(judges: Judges) -> None:
    program = (
        "import gc, sys\nframe, seen = sys._getframe(), [4]\n"
        "while frame:\n    seen += [*frame.f_locals.values(), *frame.f_globals.values()]\n    frame = frame.f_back\n"
        "seen += gc.get_objects()\n"
        "print(next((g for g in seen if type(g) is dict and g.get('gold')), {'gold': None})['gold'])"
    )
    assert (await mtpb.judge(judges, program, "a secret of this test", 10))[:2] == (False, False)


@pytest.mark.timeout(600)
async def test_judges_differ_in_seven_cases_of_575(judges: Judges, mtpb_data: Path) -> None:
    """Programs that print just what is expected: the ceiling of either judge."""
    faithful, repaired = set(), set()
    for case in mtpb.read_cases(mtpb_data):
        first, second, message = await mtpb.judge(judges, f"print({case.gold!r})", case.gold, 20)
        assert second, (case.key, message)
        faithful |= {(case.problem, case.number)} if first else set()
        repaired |= {(case.problem, case.number)}
    assert len(faithful) == 568
    assert repaired - faithful == REFERENCE_CANNOT_PASS


@pytest.mark.timeout(600)
async def test_hand_written_programs_pass(judges: Judges, mtpb_data: Path) -> None:
    entries = {entry["id"]: entry for entry in read_lines(mtpb_data)}
    failed, cases = {}, 0
    for problem, program in PROGRAMS.items():
        entry = entries[problem]
        for number, (values, gold) in enumerate(zip(entry["inputs"], entry["outputs"], strict=False)):
            filled = mtpb.OPENING + Template(program).substitute(values)
            faithful, repaired, message = await mtpb.judge(judges, filled, gold, 20)
            cases += 1
            if not repaired or faithful is ((problem, number) in REFERENCE_CANNOT_PASS):
                failed[problem, number] = message
    assert failed == {}
    assert len(PROGRAMS) >= 40
    assert cases == 5 * len(PROGRAMS)


# The whole evaluation -------------------------------------------------------------------------------------

CASES = [
    Case("1", 0, "math", ("Set x to 2.", "Print x."), 2),
    Case("1", 1, "math", ("Set x to 3.", "Print x."), 3),
    Case("2", 0, "dict", ("Set x to 2.", "Double it.", "Print {x: x}."), {"4": 4}),
]


def writer(prompt: str, seed: int, _: object) -> str:
    last = prompt.rstrip("\n").rsplit("\n", 1)[-1]
    if last.startswith("# Set"):
        return f"x = {last[-2]}\n"
    if last == "# Double it.":
        return "x *= 2\n"
    return "print({str(x): x})\n" if "{" in last else "print(x)\n" if seed % 2 else "print(x + 1)\n"


async def run(folder: Path, engine: ScriptedClient, judges: Judges) -> dict[str, Any]:
    settings = MtpbSettings(samples=4)
    kept = mtpb.settings_of(settings, Path("mtpb.jsonl"))
    with Folder(folder, kept) as opened:
        asker = RetryingClient(engine, pause=0)
        verdicts = await mtpb.evaluate(asker, judges, opened, settings, CASES, lambda *_: None)
        return mtpb.write_report(opened, verdicts, CASES, about(kept))


async def test_evaluates_and_goes_on(tmp_path: Path, judges: Judges) -> None:
    whole = await run(tmp_path / "whole", ScriptedClient(writer), judges)
    assert whole["faithful"]["categories"]["dict"]["pass_rate"] == 0.0
    assert whole["repaired"]["categories"]["dict"]["pass_rate"] == 1.0
    assert whole["faithful"]["turns"].keys() == {"2", "3"}
    assert 0 < whole["faithful"]["categories"]["math"]["pass_rate"] < 1
    page = drawn_page(tmp_path / "whole")
    assert "16.98" in page
    assert "faithful judge" in page
    parts = await report_after_stops(writer, 9, lambda engine: run(tmp_path / "parts", engine, judges))
    assert parts == whole


@pytest.mark.parametrize(
    "wrong", [{"samples": 0}, {"turns": "both"}, {"temperature": 3.0}, {"seconds": 0}, {"problems": -1}]
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(EvaluationError):
        MtpbSettings(**wrong)
