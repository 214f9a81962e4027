"""The members that can follow the dot before the cursor, and what the names at the cursor mean. Pure.

The document's own text says what its local names are: parameters with annotations, assignments, loops, `with`. What
classes have comes from the names that were known when the document was last read, `Cursor.foreign`, and from the text
of its own classes now. Python only; of everything else nothing is known.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.hints import visible
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.code.surroundings import REACH
from codegen_lsp.lsp.fitting.bindings import HEAD, Binding, FunctionText
from codegen_lsp.lsp.names.expressions import MAX_LENGTH, annotated, chain, value_of
from codegen_lsp.lsp.names.known import Members, Value

MAX_DEPTH = 6
"""Number of local names that are followed from one to the next."""
MAX_USES = 40
"""Number of members that are looked at in one statement."""
_PARTIAL = re.compile(r"\.[ \t]*(\w*)\Z")
_USE = re.compile(r"\.([^\W\d]\w*)\b(?!\s*(?::[^=]*)?=(?!=))")
_OPERAND = re.compile(r"[^\W\d]\w*\Z")
_OPENING = {")": "(", "]": "["}
_CREATING = frozenset(
    ["__init__", "__new__", "__post_init__", "__attrs_post_init__", "__enter__", "setUp", "setup"]
)
"""Methods that give their objects new attributes."""
_OF_PROTOCOLS = frozenset(
    name for kind in (object, type, BaseException, list, dict, str, int) for name in dir(kind)
)
_WRITTEN = frozenset(["__cause__", "__traceback__", "__enter__", "__exit__", "__iter__", "__next__"])
"""Special members of Python's protocols that are written out now and then."""
_OF_VALUES = ("__class__", "__dict__")
_OF_CLASSES = ("__init__", "__name__", "__new__", "__qualname__")
_KEYWORD = re.compile(r"\b(await|raise|except)[ \t]*\(?\Z")
_ATTRIBUTES = re.compile(r"\b(?:self|cls)\.([^\W\d]\w*)")
_BODY = re.compile(r"[^\n]*:[^\n]*\n(?:[ \t]*\n)*([ \t]+)")


def words_at(site: Site) -> tuple[str, ...]:
    """Return what can follow the cursor for a member of the receiver to stand there: `nd` and `t` in `mail.se‸`.

    Empty where the cursor is after no dot, or the receiver may have other members than those that are known.
    """
    typed = _PARTIAL.search(site.before)
    if (
        typed is None
        or typed[1].startswith("__")
        or site.cursor.language != "python"
        or site.after[:1].isidentifier()
    ):
        return ()
    return LocalNames(site).words(site.before[: typed.start()], typed[1])


@dataclass(frozen=True, slots=True)
class _Head:
    """A function or class that the cursor is in."""

    kind: str
    name: str
    text: FunctionText


class LocalNames:
    """The meanings of names at one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._known = site.cursor.foreign.known
        self._depth = 0
        self._found: dict[str, Value | None] = {}

    def words(self, before: str, typed: str) -> tuple[str, ...]:
        """Return how the members of the receiver at the end of `before` go on that start with what is typed of one."""
        receiver = receiver_of(before)
        if not receiver or not self._known.scope:
            return ()
        value = self.value(receiver)
        members = self.members(value)
        if members is None or members.is_open or self._may_be_new(receiver, before):
            return ()
        names = [name for name in members.values if not _is_special(name)]
        names += [
            name
            for name in members.values
            if _is_special(name) and (name in _WRITTEN or name not in _OF_PROTOCOLS)
        ]
        names += _OF_CLASSES if value is not None and value.kind == "class" else _OF_VALUES
        names = self._fitting(names, members, before.rstrip()[: -len(receiver)])
        return tuple(sorted({name[len(typed) :] for name in names if name.startswith(typed)}))

    def _fitting(self, names: list[str], members: Members, before: str) -> list[str]:
        """Return the members that fit the keyword before the receiver: what can be awaited, raised or caught."""
        word = _KEYWORD.search(before)
        if word is None:
            return names
        fits = self._may_be_awaited if word[1] == "await" else self._may_be_raised
        return [name for name in names if fits(members.values.get(name))] or names

    def _may_be_awaited(self, value: Value | None) -> bool:
        if value is None or value.kind != "function" or value.is_async:
            return True
        result = self._known.members_of(value.of)
        return result is None or result.is_open or "__await__" in result.values

    def _may_be_raised(self, value: Value | None) -> bool:
        if value is None or value.kind != "class":
            return True
        members = self._known.members_of(value)
        return members is None or members.is_open or "with_traceback" in members.values

    def lacks(self, receiver: str, member: str) -> bool:
        """Return whether the value of an expression is known not to have a member."""
        members = self.members(self.value(receiver))
        return members is not None and not (
            members.is_open or _is_special(member) or member in members.values
        )

    def value(self, expression: str) -> Value | None:
        """Return what is known of the value of an expression at the cursor."""
        return value_of(expression, self.meaning, self._known)

    def members(self, value: Value | None) -> Members | None:
        """Return the members of a value, with those that the document's own classes have been given by now."""
        members = self._known.members_of(value)
        if members is None or members.is_open:
            return members
        own = [key for key in members.classes if key.startswith(f"{self._known.path}:")]
        new = {name for key in own for name in _members_in(self._text, re.split(r"[:.]", key)[-1])}
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
                return self._bound(binding)
        return self._known.scope.get(name)

    def _bound(self, binding: Binding) -> Value | None:
        """Return what a name is that is bound so."""
        if binding.kind == "annotation":
            return annotated(binding.text, self.meaning, self._known)
        value = self.value(binding.text) if binding.kind != "other" else None
        if value is None or binding.kind == "value":
            return value
        if binding.kind == "class":
            return value.called if value.kind == "class" else None
        if value.kind != "instance":
            return None
        if binding.kind == "element" or value.of is not None:
            return value.of
        entered = self._known.member(value, "__enter__") or self._known.member(value, "__aenter__")
        return (entered.called if entered is not None else None) or value

    def _may_be_new(self, receiver: str, before: str) -> bool:
        """Return whether a member may be given its value for the first time here."""
        is_statement = receiver == "self" and before.strip() == receiver
        creates = any(head.kind == "def" and head.name in _CREATING for head in self._heads[:1])
        return is_statement and creates

    @cached_property
    def _text(self) -> str:
        return visible(self._site.cursor)

    @cached_property
    def _own(self) -> Value | None:
        """A value of the class whose method the cursor is in."""
        names = [head.name for head in self._heads if head.kind == "class"]
        value = self._known.scope.get(names[-1]) if names else None
        for name in reversed(names[:-1]):
            value = self._known.member(value, name)
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
                text = "\n".join(rows[number:])[:REACH] if match[1] == "def" else ""
                heads.append(_Head(match[1], match[2], FunctionText(text)))
            if limit == 0:
                break
        return tuple(heads)


def members_used(code: str) -> Iterator[tuple[str, str]]:
    """Yield the members that a statement uses, each with its receiver; none that it gives a value to."""
    for match in islice(_USE.finditer(code), MAX_USES):
        receiver = receiver_of(code[: match.start()])
        if receiver:
            yield receiver, match[1]


def _members_in(text: str, name: str) -> set[str]:
    """Return the names of members in the text of a class: methods, assignments, uses of `self`; none without it."""
    head = re.search(rf"^([ \t]*)class[ \t]+{re.escape(name)}\b", text, re.MULTILINE)
    if head is None:
        return set()
    end = re.compile(rf"^(?!{head[1]}[ \t])[ \t]*[^\s#)\]}}]", re.MULTILINE).search(text, head.end())
    body = text[head.end() : end.start() if end is not None else len(text)]
    names = set(_ATTRIBUTES.findall(body))
    first = _BODY.match(body)
    if first is not None:
        bound = rf"^{first[1]}(?:(?:async[ \t]+)?(?:def|class)[ \t]+)?(\w+)[ \t]*(?:[=(]|:[ \t]*[^\s#])"
        names.update(name for name in re.findall(bound, body, re.MULTILINE) if not keyword.iskeyword(name))
    return names


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _deepest(rows: list[str]) -> int:
    """Return a limit of columns that the line above an empty line is within."""
    last = next((row for row in reversed(rows[:-1]) if row.strip()), "")
    return max(len(rows[-1].expandtabs(8)), lines.columns(last)) + 1


def receiver_of(before: str) -> str:
    """Return the expression at the end of a text, of names, calls and indexing; empty if it ends otherwise.

    `return self.client` for `    return self.client`: the part `self.client`.
    """
    cut = max(0, len(before) - MAX_LENGTH)
    before = before[cut:]
    end = len(before.rstrip(" \t"))
    position = end
    while True:
        while position and before[position - 1] in _OPENING:
            start = _opened(before, position - 1)
            if start is None:
                return ""
            position = start
        operand = _OPERAND.search(before, max(0, position - 200), position)
        if operand is None:
            return ""
        position = operand.start()
        if position == 0 or before[position - 1] != ".":
            break
        position -= 1
    text = before[position:end]
    is_clean = position == 0 or (before[position - 1] not in "\"'.)]}" and not before[position - 1].isalnum())
    return text if is_clean and chain(text) else ""


def _opened(text: str, end: int) -> int | None:
    """Return where the bracket that is closed at `end` is opened; None if a string may be in the way."""
    depth = 0
    for position in range(end, -1, -1):
        character = text[position]
        if character in ")]}":
            depth += 1
        elif character in "([{":
            depth -= 1
            if depth == 0:
                return position if text[position] == _OPENING[text[end]] else None
    return None
