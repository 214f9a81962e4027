"""Lines that fit between those above and below, and lines that don't."""

from __future__ import annotations

import pytest
from support.golden import cursor

from codegen_lsp.lsp.fit import FITS, Fit, judge
from codegen_lsp.lsp.rank import rank
from codegen_lsp.lsp.types import Candidate, Verdict

HEAD = "import os\n\n\ndef f(xs):\n    total = 0\n"
INSIDE = HEAD + "‸\n    return total\n"
END = HEAD + "    for x in xs:\n        total += x\n‸\n\n\ndef g():\n    pass\n"


@pytest.mark.parametrize(
    ("at", "line", "found"),
    [
        (INSIDE, "    total += len(xs)", FITS),
        (INSIDE, "    total += _get_length(np, xs)", Fit(unknown=2)),
        (INSIDE, "    y = y", Fit(unknown=1)),
        (INSIDE, "    y = [z for z in xs if g(os.path, key=z)]", Fit(unknown=1)),
        (INSIDE, "    return total", FITS),
        (INSIDE, "", FITS),
        (INSIDE, "    # nothing", FITS),
        (END, "    return total", Fit(last=True)),
        (END, "    return", FITS),
        (END, "        return total", FITS),
        (END, "    return g()", Fit(last=True)),
        ("x = ‸\n", "unknown", FITS),
    ],
)
def test_how_a_line_fits(at: str, line: str, found: Fit) -> None:
    assert judge(cursor(at))(line) == found


def test_other_languages_are_not_judged() -> None:
    assert judge(cursor("int f() {\n‸\n}\n", "c"))("  return unknown;") == FITS


def test_a_line_that_fits_comes_first() -> None:
    likely, fitting = Candidate("    y = y", -0.5), Candidate("    y = 0", -1.5)
    shown, _ = rank([Verdict(likely), Verdict(fitting)], cursor(INSIDE))
    assert [r.candidate for r in shown] == [fitting, likely]
    assert dict(shown[1].parts)["fit"] < 0
