"""What the names at a cursor mean: by the functions that it is in, or by what is known of the document's names. Pure.

What classes have comes from the names that were known when the document was last read, `Cursor.foreign`, and from the
current text of its own classes. Python only: nothing is known about names in other languages.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.hints import is_global
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.code.surroundings import REACH
from codegen_lsp.lsp.fitting.bindings import HEAD, Binding, FunctionText
from codegen_lsp.lsp.names.expressions import ATTRIBUTES, annotated, value_of
from codegen_lsp.lsp.names.known import builtin
from codegen_lsp.lsp.names.values import STANDARD, Members, Value

MAX_DEPTH = 6
"""Number of local names that are followed from one to the next."""
_ANYTHING = Value("instance")
"""What a name means that is bound, and not Python's built-in one."""
_BODY = re.compile(r"[^\n]*:[^\n]*\n(?:[ \t]*\n)*([ \t]+)")


@dataclass(frozen=True, slots=True)
class _Head:
    """A function or class that the cursor is in."""

    kind: str
    name: str
    text: FunctionText


@lru_cache(maxsize=2)
def local_names(site: Site) -> LocalNames:
    """Return the meanings of names at a site, which the prompt and the ranking both ask for."""
    return LocalNames(site)


class LocalNames:
    """The meanings of names at one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.known = site.cursor.foreign.known
        self._depth = 0
        self._found: dict[str, Value | None] = {}
        self._members: dict[str, Members] = {}
        """By the keys of their classes: a class's text is searched once, however many lines use its members."""

    def value(self, expression: str) -> Value | None:
        """Return what is known of the value of an expression at the cursor."""
        return value_of(expression, self.meaning, self.known)

    def members(self, value: Value | None) -> Members | None:
        """Return the members of a value, with those that the document's own classes have been given by now."""
        members = self.known.members_of(value)
        if members is None or members.is_open or not members.classes:
            return members
        key = members.classes[0]
        if key not in self._members:
            self._members[key] = self._with_new(members)
        return self._members[key]

    def _with_new(self, members: Members) -> Members:
        own = [key for key in members.classes if key.startswith(f"{self.known.path}:")]
        new = {name for key in own for name in _members_in(self._site.visible, re.split(r"[:.]", key)[-1])}
        return replace(members, values=dict.fromkeys(new) | dict(members.values)) if new else members

    def meaning(self, name: str) -> Value | None:
        """Return what a name means at the cursor; None if that is not known."""
        if name not in self._found:
            self._found[name] = None  # a name that is assigned from itself
            if self._depth < MAX_DEPTH:
                self._depth += 1
                self._found[name] = self._meaning(name)
                self._depth -= 1
        return self._found[name]

    def _meaning(self, name: str) -> Value | None:
        functions = [head for head in self._heads if head.kind == "def"]
        if name in ("self", "cls") and self._own is not None and functions:
            return self._own if name == "self" else Value("class", self._own.key)
        for head in functions:
            binding = head.text.binding(name)
            if binding is not None:
                return self._bound(binding) or _ANYTHING
        value = self.known.scope.get(name)
        hides = value is None and builtin(name) is not None and is_global(name, self._site.visible)
        return _ANYTHING if hides else value

    def _bound(self, binding: Binding) -> Value | None:
        """Return what a name is that is bound so."""
        if binding.kind == "annotation":
            return annotated(binding.text, self.meaning, self.known)
        value = self.value(binding.text) if binding.kind != "other" else None
        if value is None or binding.kind == "value":
            return value
        if binding.kind == "class":
            return value.called if value.kind == "class" else None
        if value.kind != "instance":
            return None
        if binding.kind == "element" or value.of is not None:
            return value.of
        if value.key.startswith(STANDARD):
            return None  # a temporary folder gives its path
        entered = self.known.member(value, "__enter__") or self.known.member(value, "__aenter__")
        return (entered.called if entered is not None else None) or value

    @property
    def function(self) -> str:
        """The name of the function that the cursor is in; empty outside of functions."""
        return self._heads[0].name if self._heads and self._heads[0].kind == "def" else ""

    @cached_property
    def _own(self) -> Value | None:
        """A value of the class whose method the cursor is in."""
        names = [head.name for head in self._heads if head.kind == "class"]
        value = self.known.scope.get(names[-1]) if names else None
        for name in reversed(names[:-1]):
            value = self.known.member(value, name)
        return value.called if value is not None and value.kind == "class" else None

    @cached_property
    def _heads(self) -> tuple[_Head, ...]:
        """The functions and classes that the cursor is in, innermost first."""
        prefix = self._site.cursor.prefix
        rows = lines.normalize(prefix[max(0, len(prefix) - 8 * REACH) :]).split("\n")
        heads: list[_Head] = []
        limit = lines.columns(rows[-1]) if rows[-1].strip() else _deepest(rows)
        for number in range(len(rows) - 2, -1, -1):
            row = rows[number]
            stripped = row.strip()
            if not stripped or stripped[0] in "#)]}" or lines.columns(row) >= limit:
                continue
            limit = lines.columns(row)
            match = HEAD.match(row)
            if match is not None:
                text = "\n".join(rows[number:]) if match[1] == "def" else ""
                heads.append(_Head(match[1], match[2], FunctionText(text)))
            if limit == 0:
                break
        return tuple(heads)


def _members_in(text: str, name: str) -> set[str]:
    """Return the names of members in the text of a class: methods, assignments, uses of `self`; none without it."""
    head = re.search(rf"^([ \t]*)class[ \t]+{re.escape(name)}\b", text, re.MULTILINE)
    if head is None:
        return set()
    end = re.compile(rf"^(?!{head[1]}[ \t])[ \t]*[^\s#)\]}}]", re.MULTILINE).search(text, head.end())
    body = text[head.end() : end.start() if end is not None else len(text)]
    names = set(ATTRIBUTES.findall(body))
    first = _BODY.match(body)
    if first is not None:
        bound = rf"^{first[1]}(?:(?:async[ \t]+)?(?:def|class)[ \t]+)?(\w+)[ \t]*(?:[=(]|:[ \t]*[^\s#])"
        names.update(name for name in re.findall(bound, body, re.MULTILINE) if not keyword.iskeyword(name))
    return names


def _deepest(rows: list[str]) -> int:
    """Return a limit of columns that the line above an empty line is within."""
    last = next((row for row in reversed(rows[:-1]) if row.strip()), "")
    return max(len(rows[-1].expandtabs(8)), lines.columns(last)) + 1
