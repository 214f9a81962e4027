"""Check whether the body of a function does what its head says, without a model. Pure. Python only.

A body that a small model writes is often likely word for word, and still not what was asked for: it leaves out a
parameter, returns nothing where a value is promised, or breaks off after the head of a block.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.code.statements import Statement, read
from codegen_lsp.lsp.code.surroundings import Surroundings
from codegen_lsp.lsp.fitting.bindings import HEAD, parameters

_WORD = re.compile(r"[^\W\d]\w*")
_RESULT = re.compile(r"\)\s*->\s*(.+):\Z")
_NOTHING = ("None", "NoReturn", "Never", '""')
"""Annotations that promise no value, or that aren't known: a statement doesn't say what its strings are."""
_PROMISES = re.compile(r"\A\s*[rRuU]?(?:\"{3}|'{3}|\"|')\s*Returns?\b")
_STUB = re.compile(r"raise\b|pass\Z|\.\.\.\Z")
_GIVES = re.compile(r"return\b\s*\S|raise\b|assert\b|yield\b|.*\byield\b|pass\Z|\.\.\.\Z")


@dataclass(frozen=True, slots=True)
class BodyIssues:
    """The findings about the body of a function, or about any lines of code."""

    unused: int = 0
    """Parameters that it doesn't use."""
    no_value: bool = False
    """It returns nothing, and the function's head or docstring says that it does."""
    ends_open: bool = False
    """It ends with the head of a block."""


FITS = BodyIssues()
BodyChecker = Callable[[str], BodyIssues]


def checker_for(site: Site) -> BodyChecker:
    """Return a function that checks candidates of several lines, which are texts to insert at the cursor."""
    around = site.statements
    if around is None or site.after.strip():
        return lambda _: FITS
    return _HeadChecker(around, site)


class _HeadChecker:
    """Checks the candidates of one site."""

    def __init__(self, around: Surroundings, site: Site) -> None:
        self._line = site.before
        self._ends_here = not around.below
        self._head: Statement | None = None
        """The head of the function whose body starts and ends at the cursor."""
        self._parameters: tuple[str, ...] = ()
        self._promises = False
        previous = around.previous
        match = HEAD.match(previous.code) if previous is not None and previous.opens else None
        if previous is not None and match is not None and match[1] == "def" and self._ends_here:
            self._head = previous
            self._parameters = _own(parameters(previous.code))
            above = site.cursor.prefix[site.cursor.prefix.rfind(f"def {match[2]}") :]
            self._promises = _promises(previous, above)

    def __call__(self, text: str) -> BodyIssues:
        statements = read(self._line + text).statements
        if not statements:
            return FITS
        ends_open = self._ends_here and statements[-1].opens
        if self._head is None or statements[0].indent <= self._head.indent:
            return BodyIssues(ends_open=ends_open)
        words = set(_WORD.findall(text))
        is_stub = len(statements) == 1 and _STUB.match(statements[0].code) is not None
        return BodyIssues(
            unused=0 if is_stub else sum(name not in words for name in self._parameters),
            no_value=self._promises and not any(_GIVES.match(s.code) for s in _own_statements(statements)),
            ends_open=ends_open,
        )


def _own(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in ("self", "cls") and not name.startswith("_"))


def _promises(head: Statement, text: str) -> bool:
    """Return whether a function says that it returns a value: in its annotation or, without one, in its docstring."""
    result = _RESULT.search(head.code)
    if result is not None:
        return result[1].strip() not in _NOTHING
    body = text.partition(":\n")[2]
    return _PROMISES.match(body) is not None


def _own_statements(statements: Sequence[Statement]) -> Iterator[Statement]:
    """Yield the statements that aren't in functions and classes among them."""
    limit: int | None = None
    for statement in statements:
        if limit is not None and statement.indent > limit:
            continue
        limit = statement.indent if statement.defines else None
        if limit is None:
            yield statement
