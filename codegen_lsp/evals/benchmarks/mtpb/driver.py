"""The judge of the Multi-Turn Programming Benchmark, step by step as the reference has it.

Runs inside the sandbox: `mtpb.py` hands this file's text over as a driver, so it imports nothing of this project. The
rules, each with a test of its own:

1. The last statement's value is printed where the program does not end in a call to something named `print...`.
2. `print` records; what counts is the first argument of the last call, also when an exception or the time limit
   ended the program after it.
3. Before comparing, a pandas series becomes an array, a list of tuples a list of lists, numpy's scalars and arrays
   Python's.
4. Where the types differ, the output is cast to the type of the expected value; for booleans both are compared as
   strings.
5. Floats may differ by less than 1e-6; series are compared by `allclose`; all else by `==`.
6. The reference knows no comparison for dicts and None, so that such cases can never pass (`faithful`). `repaired`
   compares dicts with `==`, and None with an output that is None or reads `None`.
"""

from __future__ import annotations

import ast
import io
import signal
import sys
from collections.abc import Callable
from typing import Any


class _TimeLimitError(Exception):
    """The reference's limit is an exception in the program, which its judge survives: so is ours."""


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


class _Recorder:
    """Stands in for `print`, and remembers its last call."""

    def __init__(self) -> None:
        self.calls = 0
        self.last: tuple[Any, ...] = ()

    def __call__(self, *values: Any, **options: Any) -> None:
        self.calls += 1
        self.last = values
        # The program's own output goes nowhere; a wrong `sep` or `file` still has to raise as it would.
        print(*values, **options)  # noqa: T201


def run(program: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Both verdicts on a program, for the expected value `payload["gold"]` and the limit `payload["seconds"]`."""
    recorder = _Recorder()
    verdict: dict[str, Any] = {"faithful": False, "repaired": False, "message": "", "printed": ""}
    signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, payload["seconds"])
    try:
        verdict["message"] = _execute(with_last_value_printed(program), recorder)
        if not recorder.last:
            verdict["message"] = verdict["message"] or "nothing was printed"
            return verdict
        output = recorder.last[0]
        verdict["faithful"] = _guarded(matches, output, payload["gold"], verdict)
        verdict["repaired"] = verdict["faithful"] or _guarded(
            matches_repaired, output, payload["gold"], verdict
        )
        verdict["printed"] = repr(output)[:200]
    except Exception as error:
        verdict["message"] = f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return verdict


def with_last_value_printed(program: str) -> str:
    """Return the program, its last statement's value wrapped in `print(...)` where rule 1 says so and it has one."""
    try:
        tree = ast.parse(program)
        last: Any = tree.body[-1]
        if _calls_print(last):
            return program
        called = ast.Name(id="print", ctx=ast.Load())
        last.value = ast.Call(func=called, args=[last.value], keywords=[])
        return ast.unparse(ast.fix_missing_locations(tree))
    except Exception:
        # No statement, no value, no Python: the reference then runs the program as it is.
        return program


def _calls_print(statement: Any) -> bool:
    try:
        return bool(statement.value.func.id.startswith("print"))
    except AttributeError:
        return False


def _execute(program: str, recorder: _Recorder) -> str:
    """Run a program with the recorder as its `print`; the exception that ended it, or nothing."""
    standard = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = _Nowhere()
    try:
        exec(program, {"__name__": "__main__", "print": recorder})
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    finally:
        sys.stdout, sys.stderr = standard
    return ""


def _guarded(compare: Callable[[Any, Any], bool], output: Any, gold: Any, verdict: dict[str, Any]) -> bool:
    try:
        return bool(compare(output, gold))
    except Exception as error:
        verdict["message"] = verdict["message"] or f"{type(error).__name__}: {error}"[:300]
        return False


def matches(output: Any, gold: Any) -> bool:
    """Rules 3 to 5.

    Raises:
        ValueError: the expected value is of a type that the reference can't compare (dict, None).
        Exception: the cast of rule 4 failed.
    """
    output, gold = _normalised(output, gold)
    if type(output) is not type(gold):
        if type(gold) is bool:
            output, gold = str(output), str(gold)
        else:
            output = type(gold)(output)
    if isinstance(output, float):
        return bool(abs(output - gold) < 1e-6)
    if type(output).__name__ == "ndarray":
        return bool(_numpy().allclose(output, gold))
    if type(output) in (str, int, bool, list, tuple, set):
        return bool(output == gold)
    raise ValueError(f"the reference compares no {type(output).__name__}")


def matches_repaired(output: Any, gold: Any) -> bool:
    """Rules 3 to 6: as `matches`, and for the two types that the reference can't compare."""
    if gold is None:
        return output is None or str(output) == "None"
    if isinstance(gold, dict):
        return bool(dict(output) == gold)
    return matches(output, gold)


def _normalised(output: Any, gold: Any) -> tuple[Any, Any]:
    kind = type(output)
    if f"{kind.__module__}.{kind.__qualname__}" == "pandas.core.series.Series":
        return output.to_numpy(), _numpy().array(gold)
    if kind is list and output and type(output[0]) is tuple:
        return [list(entry) for entry in output], gold
    if kind.__module__ == "numpy":
        name = kind.__name__
        if name in ("uint8", "int16", "int32", "int64"):
            return int(output), gold
        if name in ("float16", "float32", "float64"):
            return float(output), gold
        if name in ("bool_", "bool"):
            return bool(output), gold
        if name == "ndarray":
            return output.tolist(), gold
    return output, gold


def _numpy() -> Any:
    import numpy

    return numpy


def _time_is_up(*_: object) -> None:
    raise _TimeLimitError("timed out")
