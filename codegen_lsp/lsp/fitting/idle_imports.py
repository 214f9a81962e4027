"""Imports that nothing uses yet: the line at the cursor is probably about to use one. Pure. Python only."""

from __future__ import annotations

import re
from functools import lru_cache

from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.code.surroundings import visible_elsewhere
from codegen_lsp.lsp.context.imports import imported_modules, imported_names, imports_of
from codegen_lsp.wire.requests import MAX_WORD, MAX_WORDS

NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")
"""A name that is not an attribute."""
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+[\w.]+[ \t]+import[ \t]*(?:\([^)]*\)|[^\n(]*)|import[ \t]+[^\n]*)", re.MULTILINE
)
_OPERAND = re.compile(
    r"(?:(?:^|.*[^\w.])(?:in|return|yield|await|if|elif|while|and|or|not|is|with|raise|else)[ \t]+"
    r"|.*[=(\[{,+*/%|&<>-][ \t]*)((?:[^\W\d]\w*)?)\Z"
)
"""A line up to a place where an expression starts, and what of its first name is typed."""
_LONGEST_LINE = 300
"""Characters of the longest line before the cursor that is looked at."""
_FILES_OF_NAMES = ("/__init__.py", "/__init__.pyi")
"""The ends of the names of files that import names for others to use."""


@lru_cache(maxsize=8)
def idle_imports(text: str) -> frozenset[str]:
    """Return the names that a text imports and doesn't use; the last texts are remembered."""
    statements = "\n".join(match[0].strip() for match in _IMPORT.finditer(text))
    imports = [item for item in imports_of("python", statements) if item.module != "__future__"]
    names = frozenset([*imported_names(imports), *imported_modules(imports)])
    return names.difference(NAME.findall(_IMPORT.sub("", text))) if names else names


def idle_imports_at(site: Site) -> frozenset[str]:
    """Return the names that a document imports and doesn't use, not even in the line at the cursor."""
    cursor = site.cursor
    if cursor.language != "python" or cursor.uri.endswith(_FILES_OF_NAMES):
        return frozenset()
    return idle_imports(visible_elsewhere(cursor)).difference(NAME.findall(f"{site.before}\n{site.after}"))


def words_for_idle_imports(site: Site) -> tuple[str, ...]:
    """Return what can follow the cursor for an expression there to start with an import that nothing uses.

    `elds` in `for field in fi‸`, where `fields` is imported. Empty where no expression starts.
    """
    typed = _OPERAND.match(site.before) if len(site.before) <= _LONGEST_LINE else None
    if typed is None or site.in_comment or site.open_string or site.after[:1].isidentifier():
        return ()
    names = sorted(n for n in idle_imports_at(site) if n.startswith(typed[1]) and n != typed[1])
    words = [n[len(typed[1]) :] for n in names if len(n) <= MAX_WORD]
    return tuple(words) if len(words) <= MAX_WORDS else ()
