"""How well a line fits between those above and below it, as far as that can be told without a model. Pure.

A candidate for a whole line is read as a statement: whether it uses names that nothing binds, and whether it ends a
function that has no other end. Knows Python; of other languages, and in the middle of a line, everything fits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codegen_lsp.lsp.code import hints
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.code.hints import HintPlace
from codegen_lsp.lsp.code.statements import read


@dataclass(frozen=True, slots=True)
class LineIssues:
    """What is wrong with a line at its place, and what is right."""

    unknown: int = 0
    """Names that it uses and that nothing binds."""
    last: bool = False
    """It returns a value where nothing of the function follows, from the function's own block."""


FITS = LineIssues()
LineChecker = Callable[[str], LineIssues]


def checker_for(cursor: Cursor) -> LineChecker:
    """A judge of candidates, which are texts to insert at a cursor."""
    own = cursor.line_prefix.lstrip(" \t")
    if cursor.language != "python" or cursor.line_suffix.strip() or (own and not own.isidentifier()):
        return lambda _: FITS
    here = hints.place(cursor)
    return _Judge(here, cursor) if here is not None else lambda _: FITS


class _Judge:
    """Remembers what is known at a place."""

    def __init__(self, here: HintPlace, cursor: Cursor) -> None:
        self._line = cursor.line_prefix
        self._text = hints.visible(cursor)
        self._known = {name: True for s in here.above for name in (*s.names(), *s.binds())}
        heads = [n for n, s in enumerate(here.levels) if s.defines]
        body = here.levels[heads[-1] + 1 :] if heads else ()
        self._body = body[0].indent if body and not here.below else None
        """Columns of the function's own statements, where none follows."""

    def __call__(self, text: str) -> LineIssues:
        found = read(self._line + text).statements
        if not found:
            return FITS
        first = found[0]
        return LineIssues(
            unknown=sum(not self._is_known(name) for name in dict.fromkeys(first.needs())),
            last=first.indent == self._body and first.word == "return" and first.code != "return",
        )

    def _is_known(self, name: str) -> bool:
        if name not in self._known:
            self._known[name] = hints.is_global(name, self._text)
        return self._known[name]
