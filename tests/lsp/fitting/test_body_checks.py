"""Bodies of functions that do what the head says, and bodies that don't."""

from __future__ import annotations

import pytest
from support.golden import site

from codegen_lsp.lsp.fitting.body_checks import FITS, BodyIssues, checker_for
from codegen_lsp.lsp.suggest.rank import rank
from codegen_lsp.lsp.suggest.values import Candidate, Verdict

HEAD = 'def far(self, a: Point, b: "Point", *, _x=1, k: dict[str, int] = {}) -> float:\n    """Measure."""\n    ‸\n'
SAYS = 'def far(a):\n    """Return the distance."""\n    ‸\n\n\ndef near():\n    pass\n'
NOTHING = "async def far(a) -> None:\n    ‸\n"
INSIDE = "def far(a):\n    x = 1\n    ‸\n    return x\n"


@pytest.mark.parametrize(
    ("at", "body", "found"),
    [
        (HEAD, "a.x = b.x", BodyIssues(unused=1, no_value=True)),
        (HEAD, "return a.x", BodyIssues(unused=2)),
        (HEAD, "return a.x - b.x\n\n    # k", FITS),
        (HEAD, 'return f"{a} {b} {k}"', FITS),
        (HEAD, "def inner():\n        return a, b, k", BodyIssues(no_value=True)),
        (HEAD, "for x in a, b:\n        if k:", BodyIssues(no_value=True, ends_open=True)),
        (HEAD, "x = a\n    yield b, k", FITS),
        (HEAD, "raise NotImplementedError", FITS),
        (HEAD, "pass", FITS),
        (SAYS, "x = a", BodyIssues(no_value=True)),
        (SAYS, "if not a:\n        return 1", FITS),
        (NOTHING, "print(a)", FITS),
        (NOTHING, "return", BodyIssues(unused=1)),
        (INSIDE, "if x:", FITS),
        (INSIDE, "y = 1\n    y += 1", FITS),
        ("class A:\n    ‸\n", "def f(self):", BodyIssues(ends_open=True)),
        ("x = 1\n‸\n", "for y in x:\n    pass", FITS),
        ("x = f(‸)\n", "lambda:", FITS),
        ("def far(a):\n    ‸\n", "", FITS),
        ("def far(", "", FITS),
        ("def far(‸", "a):", FITS),
    ],
)
def test_how_a_body_fits(at: str, body: str, found: BodyIssues) -> None:
    assert checker_for(site(at if "‸" in at else at + "‸"))(body) == found


def test_nothing_is_known_of_other_languages() -> None:
    assert checker_for(site("def far(a)\n  ‸\n", "ruby"))("x = 1") == FITS


def test_a_body_that_uses_what_it_is_given_comes_first() -> None:
    at = site('def save(path, data) -> None:\n    """Write the data."""\n    ‸\n')
    likely = Candidate('with open("x") as file:\n        file.write(data)', -0.25)
    right = Candidate("with open(path) as file:\n        file.write(data)", -0.3)
    shown, _ = rank([Verdict(likely), Verdict(right)], at)
    assert shown[0].candidate is right
    assert dict(shown[1].parts)["body"] < 0


def test_single_lines_need_not_be_whole_bodies() -> None:
    at = site('def save(path, data) -> int:\n    """Write the data."""\n    ‸\n')
    shown, _ = rank([Verdict(Candidate("size = 0", -0.25))], at)
    assert dict(shown[0].parts)["body"] == 0
