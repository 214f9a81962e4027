"""Build the part of a prompt before its window, if the window doesn't hold the whole prefix.

It holds the imports; stubs of the other definitions in the file, those below the cursor too; then signatures and
docstrings of the definitions that enclose the window's start. It depends only on the text before the window and on
the lines below the cursor's, never on the line that is being typed, so that it stays in the engine's cache.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.prompts.outline import Definition, Outline, outline
from codegen_lsp.lsp.prompts.token_counter import TokenCounter

_PARSED = 48 * 1024
"""Characters before the window that are parsed; of a longer text, the last ones."""
_HEAD = 16 * 1024
"""Characters at the document's start that imports are looked for in, when not all is parsed."""
_BELOW = 32 * 1024
_LINES_UP = 5000
"""Lines above the cursor in which the class around it is looked for."""
_MISSES = 12
"""Number of definitions that don't fit after which no more are tried."""
_LONG_DOCUMENTATION = 400
"""Characters past which a stub's documentation is shortened to its first line."""
_TOP_LEVEL = re.compile(r"^[^\s)}\]#/*]", re.MULTILINE)
_CLASS = re.compile(r"(?:[a-z]+ +)*(?:class|struct|interface)\b.*")
_MEMBER = re.compile(r"^([ \t]+)(?:@|(?:async )?def |class )", re.MULTILINE)


def build(site: Site, start: int, budget: int, count: TokenCounter) -> str:
    """Return the header of a window that starts at `start` characters, of at most `budget` tokens; it may be empty."""
    before = _before(site.cursor, start)
    top, members, owner = _after(site.cursor)
    enclosing = before.enclosing()
    plan = _Plan(budget, count)
    openings = [plan.take(d.opening, _brief_opening(d)) for d in enclosing]
    imports = [plan.take(i, keep=budget // 4) for i in before.imports]
    siblings: list[list[str]] = []
    for depth, outer in enumerate(enclosing):
        inner = [m for m in outer.members if not m.open]
        siblings.append(plan.stubs([*inner, *(members if depth == 0 and outer.signature == owner else ())]))
    owner_members = members if members and owner not in [d.signature for d in enclosing[:1]] else ()
    owned = plan.stubs(owner_members)
    after = plan.stubs(top)
    earlier = plan.stubs([d for d in before.definitions if not d.open])
    if owned:
        after = [owner, *owned, "", *after]
    inside = [part for opening, stubs in zip(openings, siblings, strict=True) for part in (opening, *stubs)]
    sections = ["\n".join(p for p in section if p) for section in (imports, [*earlier, *after], inside)]
    return "".join(f"{section}\n\n" for section in sections[:2] if section) + (
        f"{sections[2]}\n" if sections[2] else ""
    )


class _Plan:
    """The remaining budget of one call of `build`."""

    def __init__(self, budget: int, count: TokenCounter) -> None:
        self._left = budget - 4  # blank lines between the sections
        self._count = count

    def take(self, *choices: str, keep: int = 0) -> str:
        """Return the first of the choices that still fits and leaves `keep` tokens, or nothing."""
        for choice in choices:
            tokens = self._count(choice + "\n") if choice else 0
            if choice and tokens <= self._left - keep:
                self._left -= tokens
                return choice
        return ""

    def stubs(self, definitions: Sequence[Definition]) -> list[str]:
        """Return the stubs of as many definitions as fit, in order."""
        stubs: list[str] = []
        for index, definition in enumerate(definitions):
            if index - len(stubs) > _MISSES:
                break
            full, brief = definition.stub(), definition.stub(brief=True)
            stub = self.take(*([full, brief] if len(full) <= _LONG_DOCUMENTATION else [brief]))
            stubs += [stub] if stub else []
        return stubs


def _brief_opening(definition: Definition) -> str:
    return definition.signature + definition.opener


def _before(cursor: Cursor, start: int) -> Outline:
    """Return the outline of the text before the window."""
    following = next((ln for ln in cursor.prefix[start : start + 4096].split("\n") if ln.strip()), "")
    indent = lines.leading(following)
    if start <= _PARSED:
        return outline(cursor.language, lines.normalize(cursor.prefix[:start]), indent)
    boundary = _TOP_LEVEL.search(cursor.prefix, start - _PARSED, start)
    tail = cursor.prefix[boundary.start() if boundary else start - _PARSED : start]
    head = outline(cursor.language, lines.normalize(cursor.prefix[:_HEAD]))
    return Outline(head.imports, outline(cursor.language, lines.normalize(tail), indent).definitions)


def _after(cursor: Cursor) -> tuple[tuple[Definition, ...], tuple[Definition, ...], str]:
    """Return what is defined below the cursor: top-level definitions, members of the class around it, its signature."""
    start = len(cursor.line_suffix)
    text = lines.normalize(cursor.suffix[start : start + _BELOW])
    boundary = _TOP_LEVEL.search(text, 1)
    end = boundary.start() if boundary else len(text)
    top = outline(cursor.language, text[end:]).definitions if boundary else ()
    owner = _owner(cursor)
    if not owner:
        return top, (), ""
    return top, _members(cursor.language, text[:end]), owner


def _owner(cursor: Cursor) -> str:
    """Return the signature of the class that the cursor's line is in, if that is at the file's top level."""
    end = len(cursor.prefix) - len(cursor.line_prefix)
    for _ in range(_LINES_UP):
        start = cursor.prefix.rfind("\n", 0, max(0, end - 1)) + 1
        if _TOP_LEVEL.match(cursor.prefix, start):
            line = cursor.prefix[start:end].rstrip("\r\n {")
            return line if _CLASS.fullmatch(line) else ""
        if start == 0:
            break
        end = start
    return ""


def _members(language: str, text: str) -> tuple[Definition, ...]:
    """Return the members of a class in the text of its end, from the first that starts in that text."""
    if language == "python":
        member = min(_MEMBER.finditer(text), key=lambda m: len(m.group(1)), default=None)
        body = text[member.start() :] if member else ""
        head = "class _:\n"
    else:
        indents = [lines.leading(ln) for ln in text.split("\n") if ln[:1] in (" ", "\t") and ln.strip()]
        level = min(indents, key=len, default="")
        closer = re.search(rf"^{level}\}}[ \t;]*$", text, re.MULTILINE) if level else None
        body = text[closer.end() :] if closer else ""
        head = "class _ {\n"
    if not body.strip():
        return ()
    return next((d.members for d in outline(language, head + body).definitions), ())
