"""Run one MTPB program and return what it printed last: the part of the judge in the program's process.

`conversation` hands this file's text to the sandbox as a driver, so it imports nothing of this project. It is told the
type of the expected value, which rule 4 needs, but not the value: `comparison` judges in another process. The rules of
the reference, each with a test:

1. The last statement's value is printed if the program does not end in a call to something named `print...`.
2. `print` records. The first argument of the last call counts, also if an exception or the time limit ended the program
   after it.
3. Before comparing, a pandas series becomes an array, a list of tuples becomes a list of lists, and numpy's scalars and
   arrays become Python's.
4. If the types differ, the output is cast to the type of the expected value.

Rules 5 and 6 are in `comparison`.
"""

from __future__ import annotations

import ast
import builtins
import io
import signal
import sys
from typing import Any

PLAIN = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, type(None))


class _TimeLimitError(Exception):
    """The reference's limit is an exception in the program, which its judge survives; so is this one."""


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


class _Recorder:
    """Stands in for `print`, and remembers its last call."""

    def __init__(self) -> None:
        self.last: tuple[Any, ...] = ()

    def __call__(self, *values: Any, **options: Any) -> None:
        self.last = values
        # The program's output goes nowhere, but a wrong `sep` or `file` must raise as it would.
        print(*values, **options)  # noqa: T201


def run(program: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Run a program, for the type name `payload["kind"]` and the limit `payload["seconds"]`.

    The result has `printed`, `message` and, if something was printed, `output`: `["value", v]` or `["series", list]`.
    """
    recorder = _Recorder()
    result: dict[str, Any] = {"message": "", "printed": ""}
    signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, payload["seconds"])
    try:
        result["message"] = _execute(with_last_value_printed(program), recorder)
        if recorder.last:
            result["output"] = for_judge(recorder.last[0], payload["kind"])
            result["printed"] = repr(recorder.last[0])[:200]
        else:
            result["message"] = result["message"] or "nothing was printed"
    except Exception as error:
        result["message"] = f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return result


def for_judge(output: Any, kind: str) -> list[Any]:
    """Return an output as plain values, by rules 3 and 4: numpy's and unknown types never leave this process.

    `for_judge({1: 2}.keys(), "list")` is `["value", [1]]`.
    """
    if f"{type(output).__module__}.{type(output).__qualname__}" == "pandas.core.series.Series":
        return ["series", output.to_numpy().tolist()]
    output = _python(output)
    if type(output) not in PLAIN:
        output = str(output) if kind in ("bool", "NoneType") else getattr(builtins, kind)(output)
    return ["value", _without_scalars(output)]


def _python(output: Any) -> Any:
    kind = type(output)
    if kind is list and output and type(output[0]) is tuple:
        return [list(entry) for entry in output]
    if kind.__module__ == "numpy":
        return _number(output) if kind.__name__ != "ndarray" else output.tolist()
    return output


def _number(output: Any) -> Any:
    """Return a scalar of numpy's as Python's; the types that the reference does not convert stay."""
    name = type(output).__name__
    if name in ("uint8", "int16", "int32", "int64"):
        return int(output)
    if name in ("float16", "float32", "float64"):
        return float(output)
    return bool(output) if name in ("bool_", "bool") else output


def _without_scalars(value: Any) -> Any:
    """Return a plain value whose scalars of numpy's are Python's; they are equal."""
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_without_scalars(entry) for entry in value)
    if type(value) is dict:
        return {_without_scalars(key): _without_scalars(entry) for key, entry in value.items()}
    if type(value).__module__ == "numpy" and hasattr(value, "dtype") and getattr(value, "shape", None) == ():
        return value.item()
    return value


def with_last_value_printed(program: str) -> str:
    """Return the program with the value of its last statement wrapped in `print(...)`, if rule 1 says so."""
    try:
        tree = ast.parse(program)
        last: Any = tree.body[-1]
        if _calls_print(last):
            return program
        called = ast.Name(id="print", ctx=ast.Load())
        last.value = ast.Call(func=called, args=[last.value], keywords=[])
        return ast.unparse(ast.fix_missing_locations(tree))
    except Exception:
        # Without a last statement with a value, the reference runs the program as it is.
        return program


def _calls_print(statement: Any) -> bool:
    try:
        return bool(statement.value.func.id.startswith("print"))
    except AttributeError:
        return False


def _execute(program: str, recorder: _Recorder) -> str:
    """Run a program with the recorder as its `print`; return the exception that ended it, or nothing."""
    standard = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = _Nowhere()
    try:
        exec(program, {"__name__": "__main__", "print": recorder})
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    finally:
        sys.stdout, sys.stderr = standard
    return ""


def _time_is_up(*_: object) -> None:
    raise _TimeLimitError("timed out")
