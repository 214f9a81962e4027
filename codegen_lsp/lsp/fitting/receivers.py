"""The members that can follow the dot before the cursor, and those that a line uses. Pure. Python only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.fitting.local_names import LocalNames, local_names
from codegen_lsp.lsp.names.expressions import MAX_LENGTH, chain
from codegen_lsp.lsp.names.known import KnownNames
from codegen_lsp.lsp.names.values import STANDARD, Members, Value, is_private
from codegen_lsp.wire.requests import MAX_WORD, MAX_WORDS

MAX_USES = 40
"""Number of members that are looked at in one statement."""
_PARTIAL = re.compile(r"\.[ \t]*(\w*)\Z")
_USE = re.compile(r"\.([^\W\d]\w*)\b(?!\s*(?::[^=]*)?=(?!=))")
_OPERAND = re.compile(r"[^\W\d]\w*\Z")
_OPENING = {")": "(", "]": "["}
_CREATING = re.compile(r"init|new|set_?up|reset|build|create|configure|enter|start|open", re.IGNORECASE)
"""In the names of methods that give their objects new attributes."""
_OF_PROTOCOLS = frozenset(
    name for kind in (object, type, BaseException, list, dict, str, int) for name in dir(kind)
)
_WRITTEN = frozenset(["__cause__", "__traceback__", "__enter__", "__exit__", "__iter__", "__next__"])
"""Special members of Python's protocols that are written out now and then."""
_OF_VALUES = ("__class__", "__dict__")
_OF_CLASSES = ("__init__", "__name__", "__new__", "__qualname__")
_KEYWORD = re.compile(r"\b(await|raise|except)[ \t]*\(?\Z")


def words_at(site: Site) -> tuple[str, ...]:
    """Return what can follow the cursor for a member of the receiver to stand there: `nd` and `t` in `mail.se‸`.

    Empty where the cursor is after no dot, or the receiver may have other members than those that are known.
    """
    typed = _PARTIAL.search(site.before)
    if typed is None or typed[1].startswith("__") or site.cursor.language != "python":
        return ()
    if site.after[:1].isidentifier() or site.in_comment or site.open_string:
        return ()
    before = site.before[: typed.start()]
    receiver, names = receiver_of(before), local_names(site)
    value = names.value(receiver) if receiver and names.known.scope else None
    members = names.members(value)
    if members is None or value is None or members.is_open:
        return ()
    if receiver == before.strip() == "self" and _CREATING.search(names.function):
        return ()  # it may be given a new attribute
    suggested = _fitting(_suggested(value, members), members, before.rstrip()[: -len(receiver)], names.known)
    if value.key.startswith(STANDARD):
        # Another version, or another system, may have more: what the document uses is there.
        used = re.findall(rf"(?<![\w.]){re.escape(receiver)}\.(\w+)", site.visible)
        used = [name for name in used if name != typed[1]]  # the one at the cursor
        takes_private = typed[1].startswith("_")
        suggested = [name for name in (*suggested, *used) if takes_private or not is_private(name)]
    words = sorted({name[len(typed[1]) :] for name in suggested if name.startswith(typed[1])})
    words = [word for word in words if len(word) <= MAX_WORD]
    return tuple(words) if len(words) <= MAX_WORDS else ()


def _suggested(value: Value, members: Members) -> list[str]:
    """Return the members of a value, without the special ones that are hardly ever written out."""
    names = [name for name in members.values if not is_special(name) or name in _WRITTEN]
    names += [name for name in members.values if is_special(name) and name not in _OF_PROTOCOLS]
    return [*names, *(_OF_CLASSES if value.kind == "class" else _OF_VALUES)]


def _fitting(names: list[str], members: Members, before: str, known: KnownNames) -> list[str]:
    """Return the members that fit the keyword before the receiver: what can be awaited, raised or caught."""
    word = _KEYWORD.search(before)
    if word is None:
        return names
    fits = _may_be_awaited if word[1] == "await" else _may_be_raised
    return [name for name in names if fits(members.values.get(name), known)] or names


def _may_be_awaited(value: Value | None, known: KnownNames) -> bool:
    if value is None or value.kind != "function" or value.is_async:
        return True
    result = known.members_of(value.of)
    return result is None or result.is_open or "__await__" in result.values


def _may_be_raised(value: Value | None, known: KnownNames) -> bool:
    if value is None or value.kind != "class":
        return True
    members = known.members_of(value)
    return members is None or members.is_open or "with_traceback" in members.values


def members_used(code: str) -> Iterator[tuple[str, str]]:
    """Yield the members that a statement uses, each with its receiver; none that it gives a value to."""
    for match in islice(_USE.finditer(code), MAX_USES):
        receiver = receiver_of(code[: match.start()])
        if receiver:
            yield receiver, match[1]


def lacks(names: LocalNames, receiver: str, member: str) -> bool:
    """Return whether the value of an expression is known not to have a member."""
    members = names.members(names.value(receiver))
    return members is not None and not (members.is_open or is_special(member) or member in members.values)


def is_special(name: str) -> bool:
    """Return whether a name is one of Python's protocols, such as `__iter__`."""
    return name.startswith("__") and name.endswith("__")


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
