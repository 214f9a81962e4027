"""Check whether a line fits between those above and below it, without a model. Pure.

A candidate is read as a statement, with what of its line is typed: whether it uses names that nothing binds, whether
it ends a function that has no other end, and whether it makes the code around it pointless. Only lines of Python that
end with the candidate, or with brackets that close, are checked: everything else fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from codegen_lsp.lsp.code import hints
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.code.statements import Statement, read
from codegen_lsp.lsp.code.surroundings import Surroundings
from codegen_lsp.lsp.fitting.idle_imports import NAME, idle_imports_at
from codegen_lsp.lsp.fitting.local_names import local_names
from codegen_lsp.lsp.fitting.receivers import lacks, members_used
from codegen_lsp.lsp.names.expressions import chain


@dataclass(frozen=True, slots=True)
class LineIssues:
    """The findings about a line between its neighbours."""

    unknown: int = 0
    """Names that the candidate uses and nothing binds, and members of values and modules that these don't have."""
    last: bool = False
    """It returns a value where nothing of the function follows, from the function's own block."""
    first_use: bool = False
    """It uses something that is imported and that nothing else uses."""
    pointless: bool = False
    """It does nothing, or what follows can't be reached after it, or both ways of a condition around it do the same."""


FITS = LineIssues()
_STRING = '""'
"""What a statement has for each string."""
_CLOSERS = re.compile(r"[)\]}:,; \t]*")
"""What may stand after the cursor: it says nothing about names."""
_WORD = re.compile(r"(?<!\w)\w*\Z")
_STARTED = re.compile(r"(?<![\w.])[\w.]*\Z")
LineChecker = Callable[[str], LineIssues]


def checker_for(site: Site) -> LineChecker:
    """Return a function that checks candidates, which are texts to insert at the cursor."""
    around = site.statements
    if around is None or not _CLOSERS.fullmatch(site.after):
        return lambda _: FITS
    return _Checker(around, site)


class _Checker:
    """Checks the candidates of one site and remembers which names are bound."""

    def __init__(self, around: Surroundings, site: Site) -> None:
        self._around = around
        self._line = site.before
        self._started = _STARTED.findall(site.before)[0]
        self._typed = {name for s in read(_WORD.sub("", site.before)).statements for name in s.needs()}
        """Names that the typed part of the line uses already: they don't count against any candidate."""
        self._text = site.visible
        self._starred = site.cursor.foreign.starred or frozenset[str]()
        self._names = local_names(site)
        self._idle = idle_imports_at(site)
        self._bound = dict.fromkeys(around.names_above(), True)
        heads = [n for n, s in enumerate(around.levels) if s.defines]
        body = around.levels[heads[-1] + 1 :] if heads else ()
        self._body = body[0].indent if body and not around.below else None
        """Columns of the function's own statements, where none follows."""

    def __call__(self, text: str) -> LineIssues:
        statements = read(self._line + text).statements
        if not statements:
            return FITS
        first = statements[0]
        return LineIssues(
            unknown=sum(
                not self._is_bound(name) for name in dict.fromkeys(first.needs()) if name not in self._typed
            )
            + self._missing_members(first),
            first_use=bool(self._idle) and not self._idle.isdisjoint(NAME.findall(self._started + text)),
            last=first.indent == self._body and first.word == "return" and first.code != "return",
            pointless=self._hides_what_follows(first)
            or self._changes_nothing(first)
            or _is_only_an_attribute(first),
        )

    def _hides_what_follows(self, line: Statement) -> bool:
        """Return whether the next statement of the same block can't be reached after a line."""
        following = next(iter(self._around.below), None)
        return (
            line.ends
            and following is not None
            and following.indent == line.indent
            and not following.continues
        )

    def _changes_nothing(self, line: Statement) -> bool:
        """Return whether a line is all that a block does, and what happens without the block as well.

        if x:                 if x:            if x:
            ‸return True          y += 1           ‸y += 1
        return True           else:            else:
                                  ‸y += 1          y += 1
        """
        *before, head = self._around.above
        below = self._around.below
        is_all = head.opens and head.indent < line.indent and not (below and below[0].indent >= line.indent)
        if not is_all or _STRING in line.code:  # a statement doesn't say what its strings are
            return False
        if head.word == "else" and len(before) > 1:
            opener, only = before[-2:]
            if opener.opens and opener.indent == head.indent and only == line:
                return True
        if not below:
            return False
        if below[0].word == "else" and len(below) > 1:
            after = below[2] if len(below) > 2 else None
            return below[1] == line and (after is None or after.indent < line.indent)
        return line.word == "return" and below[0].code == line.code

    def _is_bound(self, name: str) -> bool:
        if name not in self._bound:
            self._bound[name] = name in self._starred or hints.is_global(name, self._text)
        return self._bound[name]

    def _missing_members(self, line: Statement) -> int:
        """Return how many members a line uses that the values which it uses them of don't have."""
        own = line.binds() - set(line.targets())
        return sum(
            lacks(self._names, receiver, member)
            for receiver, member in members_used(line.code)
            if chain(receiver)[0].text not in own
        )


def _is_only_an_attribute(line: Statement) -> bool:
    """Return whether a line looks an attribute up and does nothing with it."""
    steps = chain(line.code)
    return len(steps) > 1 and all(step.kind == "name" for step in steps)
