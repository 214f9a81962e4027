"""Compare what an MTPB program printed with the expected value: the part of the judge outside of its process.

`conversation` hands this file's text to the sandbox as a judge, so it imports nothing of this project. The output is
plain data, so no method of the program's objects is called, and the program has never seen the expected value. The
rules, after those of `driver`:

5. Booleans are compared as strings, floats may differ by less than 1e-6, series are compared by `allclose`, all else
   by `==`.
6. The reference can't compare dicts and None, so such cases can never pass (`faithful`). `repaired` compares dicts with
   `==`, and None with an output that is None or reads `None`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def judge(result: dict[str, Any], gold: Any) -> dict[str, Any]:
    """Return both verdicts on the result of `driver.run`."""
    message, printed = str(result.get("message", ""))[:300], str(result.get("printed", ""))[:200]
    verdict: dict[str, Any] = {"faithful": False, "repaired": False, "message": message, "printed": printed}
    if "output" not in result:
        return verdict
    kind, output = result["output"]
    if kind == "series":
        output, gold = _numpy().array(output), _numpy().array(gold)
    verdict["faithful"] = _guarded(matches, output, gold, verdict)
    verdict["repaired"] = verdict["faithful"] or _guarded(matches_repaired, output, gold, verdict)
    return verdict


def _guarded(compare: Callable[[Any, Any], bool], output: Any, gold: Any, verdict: dict[str, Any]) -> bool:
    try:
        return bool(compare(output, gold))
    except Exception as error:
        verdict["message"] = verdict["message"] or f"{type(error).__name__}: {error}"[:300]
        return False


def matches(output: Any, gold: Any) -> bool:
    """Return whether an output is the expected value, by rules 3 to 5.

    Raises:
        ValueError: the expected value has a type that the reference can't compare (dict, None).
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
    """Return whether an output is the expected value, by rules 3 to 6."""
    if gold is None:
        return output is None or str(output) == "None"
    if isinstance(gold, dict):
        return bool(dict(output) == gold)
    return matches(output, gold)


def _normalised(output: Any, gold: Any) -> tuple[Any, Any]:
    if type(output) is list and output and type(output[0]) is tuple:
        return [list(entry) for entry in output], gold
    return output, gold


def _numpy() -> Any:
    import numpy

    return numpy
