"""Lines that fit between those above and below, and lines that don't."""

from __future__ import annotations

import time

import pytest
from support.golden import site

from codegen_lsp.lsp.fitting.line_checks import FITS, LineIssues, checker_for
from codegen_lsp.lsp.suggest.rank import rank
from codegen_lsp.lsp.suggest.values import Candidate, Verdict

HEAD = "import os\n\n\ndef f(xs):\n    total = 0\n"
INSIDE = HEAD + "‸\n    return total\n"
END = HEAD + "    for x in xs:\n        total += x\n‸\n\n\ndef g():\n    pass\n"
IF = HEAD + "    if xs:\n‸\n    return True\n"
IF_ELSE = HEAD + "    if xs:\n‸\n    else:\n        total += 1\n    return total\n"
ELSE = HEAD + "    if xs:\n        total += 1\n    else:\n‸\n"
ELSE_OF_TWO = HEAD + "    if xs:\n        xs.pop()\n        total += 1\n    else:\n‸\n"


@pytest.mark.parametrize(
    ("at", "line", "found"),
    [
        (INSIDE, "    total += len(xs)", FITS),
        (INSIDE, "    total += _get_length(np, xs)", LineIssues(unknown=2)),
        (INSIDE, "    total += xs.os", FITS),
        (HEAD + "    total = o‸\n", "s.sep", LineIssues(first_use=True)),
        (HEAD + "    total = xs.o‸\n", "s.sep", FITS),
        (INSIDE, "    y = y", LineIssues(unknown=1)),
        (INSIDE, "    y = [z for z in xs if g(os.path, key=z)]", LineIssues(unknown=1, first_use=True)),
        (INSIDE, "    return total", LineIssues(pointless=True)),
        (INSIDE, "    raise ValueError", LineIssues(pointless=True)),
        (INSIDE, "        return total", FITS),
        (IF, "        return True", LineIssues(pointless=True)),
        (IF, "        return False", FITS),
        (IF_ELSE, "        total += 1", LineIssues(pointless=True)),
        (IF_ELSE, "        total -= 1", FITS),
        (ELSE, "        total += 1", LineIssues(pointless=True)),
        (ELSE, "        total -= 1", FITS),
        (ELSE, '        total += len("a")', FITS),
        (ELSE_OF_TWO, "        total += 1", FITS),
        (ELSE + "        print(total)\n", "        total += 1", FITS),
        (INSIDE, "", FITS),
        (INSIDE, "    # nothing", FITS),
        (END, "    return total", LineIssues(last=True)),
        (END, "    return", FITS),
        (END, "        return total", FITS),
        (END, "    return g()", LineIssues(last=True)),
        ("x = 1\ny = ‸\n", "unknown", LineIssues(unknown=1)),
        (HEAD + "    for field in ‸\n", "xs:", FITS),
        (HEAD + "    for field in ‸\n", "points:", LineIssues(unknown=1)),
        (HEAD + "    for ‸\n", "field in xs:", FITS),
        (HEAD + "    for field in ‸\n", "field.values():", LineIssues(unknown=1)),
        (HEAD + "    for field in ‸\n", "[x for x in xs]:", FITS),
        (HEAD + "    total = sum(‸)\n", "x for x in xs", FITS),
        (HEAD + "    total = sum(‸)\n", "x for x in ys", LineIssues(unknown=1)),
        (HEAD + "    print(to‸)\n", "tal", FITS),
        (HEAD + "    print(to‸)\n", "tals, key=total", LineIssues(unknown=1)),
        (HEAD + "    print(mine, yours, ‸)\n", "total", FITS),
        (HEAD + "    print(mine, yours, ‸)\n", "theirs", LineIssues(unknown=1)),
        (HEAD + "    with open(xs[0]) as ‸\n", "file:", FITS),
        (HEAD + "    from json import ‸\n", "loads", FITS),
        (HEAD + '    print(f"{‸}")\n', "unknown", FITS),
        (HEAD + "    print(‸=2)\n", "unknown", FITS),
        (HEAD + "    x = 1  # see ‸\n", "unknown", FITS),
        (HEAD + "    return ‸\n    return total\n", "xs", LineIssues(pointless=True)),
        ("x = ‸\n", "unknown", FITS),
    ],
)
def test_how_a_line_fits(at: str, line: str, found: LineIssues) -> None:
    assert checker_for(site(at))(line) == found


def test_other_languages_are_not_judged() -> None:
    assert checker_for(site("int f() {\n‸\n}\n", "c"))("  return unknown;") == FITS


def test_a_line_that_fits_comes_first() -> None:
    likely, fitting = Candidate("    y = y", -0.5), Candidate("    y = 0", -1.5)
    shown, _ = rank([Verdict(likely), Verdict(fitting)], site(INSIDE))
    assert [r.candidate for r in shown] == [fitting, likely]
    assert dict(shown[1].parts)["fit"] < 0


def test_a_long_word_on_the_line_costs_little() -> None:
    at = site("z = 1\nx = '" + "a" * 40_000 + "' + ‸\n")
    started = time.process_time()
    assert checker_for(at)("y") == LineIssues(unknown=1)
    assert time.process_time() - started < 0.5


def test_a_line_that_uses_an_idle_import_comes_first() -> None:
    at = site("import math\n\n\ndef root(x):\n    return ‸\n")
    shown, _ = rank([Verdict(Candidate("x ** 0.5", -0.5)), Verdict(Candidate("math.sqrt(x)", -0.52))], at)
    assert shown[0].candidate.text == "math.sqrt(x)"
