"""Read what an expression or an annotation of Python says about its value. Pure.

Knows names, attributes, calls, indexing, literals, `await`, `or` and conditional expressions, and the annotations
that are used most. Nothing is known about the value of any other expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from codegen_lsp.lsp.names.known import KnownNames, builtin
from codegen_lsp.lsp.names.values import Value

ATTRIBUTES = re.compile(r"\b(?:self|cls)\.([^\W\d]\w*)")
"""Uses of attributes of `self` and `cls`."""
Lookup = Callable[[str], Value | None]
"""Returns what a name means where an expression stands; None if that is not known."""
MAX_LENGTH = 1000
"""Characters of the longest expression that is read."""
_NAME = re.compile(r"[^\W\d]\w*")
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_CLOSERS = frozenset(_PAIRS.values())
_STRING = re.compile(r"[rRuUbBfF]{0,2}(\"\"\"|'''|\"|')")
_CAST = re.compile(r"(?:typing\.)?cast\(\s*(.*)\)\s*\Z", re.DOTALL)
_NEITHER = frozenset(["None", "typing.Any", "Any", "..."])
_WRAPPERS = frozenset(
    ["Optional", "Final", "ClassVar", "Annotated", "Required", "NotRequired", "ReadOnly", "Awaitable"]
)
_LAST = frozenset(
    ["Coroutine", "Dict", "dict", "Mapping", "MutableMapping", "OrderedDict", "defaultdict", "DefaultDict"]
)
"""Types of which the last argument is what a value holds."""
_HOLDERS = frozenset(
    [
        *("List", "list", "Sequence", "MutableSequence", "Tuple", "tuple", "Deque", "deque"),
        *("Set", "set", "FrozenSet", "frozenset", "AbstractSet", "Collection"),
        *("Iterable", "Iterator", "Generator", "AsyncIterable", "AsyncIterator", "AsyncGenerator"),
    ]
)
_BUILT_IN = {name.capitalize(): name for name in ("list", "dict", "set", "tuple")} | {
    "FrozenSet": "frozenset"
}


@dataclass(frozen=True, slots=True)
class ExpressionStep:
    """One step of an expression such as `client.get(url).headers["a"]`."""

    kind: Literal["name", "call", "index"]
    text: str
    """The name, or what is in the brackets."""


def chain(text: str) -> tuple[ExpressionStep, ...]:
    """Return the steps of an expression of names, calls and indexing; empty if it is another one."""
    steps: list[ExpressionStep] = []
    position, expects_name = 0, True
    while position < len(text):
        if expects_name:
            match = _NAME.match(text, position)
            if match is None:
                return ()
            steps.append(ExpressionStep("name", match[0]))
            position, expects_name = match.end(), False
        elif text[position] in "([":
            end = closing(text, position)
            if end is None:
                return ()
            kind: Literal["call", "index"] = "call" if text[position] == "(" else "index"
            steps.append(ExpressionStep(kind, text[position + 1 : end]))
            position = end + 1
        elif text[position] == ".":
            position, expects_name = position + 1, True
        else:
            return ()
    return () if expects_name else tuple(steps)


def closing(text: str, start: int) -> int | None:
    """Return where the bracket at `start` is closed; None if it is not."""
    depth = 0
    for position, character in _outside_strings(text, start):
        if character in _PAIRS:
            depth += 1
        elif character in _CLOSERS:
            depth -= 1
            if depth == 0:
                return position
    return None


def split(text: str, separator: str) -> list[str]:
    """Return the parts of a text between separators that are in no bracket and no string."""
    parts, start, depth = [], 0, 0
    for position, character in _outside_strings(text, 0):
        depth += (character in _PAIRS) - (character in _CLOSERS)
        if depth == 0 and position >= start and text.startswith(separator, position):
            parts.append(text[start:position].strip())
            start = position + len(separator)
    return [*parts, text[start:].strip()]


def _outside_strings(text: str, start: int) -> Iterator[tuple[int, str]]:
    """Yield the characters from `start` on that are in no string, with their positions."""
    position = start
    while position < len(text):
        match = _STRING.match(text, position) if text[position] in "\"'" else None
        if match is not None:
            end = text.find(match[1], match.end())
            position = len(text) if end < 0 else end + len(match[1])
            continue
        yield position, text[position]
        position += 1


def value_of(text: str, lookup: Lookup, known: KnownNames) -> Value | None:
    """Return what is known of the value of an expression."""
    text = text.strip().removeprefix("await ").strip()
    if not text or len(text) > MAX_LENGTH:
        return None
    while text.startswith("(") and closing(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    if len(parts := split(text, " if ")) == 2 and len(ends := split(parts[1], " else ")) == 2:
        return value_of(parts[0], lookup, known) or value_of(ends[1], lookup, known)
    if len(parts := split(text, " or ")) > 1:
        return next((value for part in parts if (value := value_of(part, lookup, known))), None)
    if (cast := _CAST.match(text)) is not None:
        return annotated(split(cast[1], ",")[0], lookup, known)
    if (literal := _literal(text)) is not None:
        return literal
    steps = chain(text)
    value = (lookup(steps[0].text) or builtin(steps[0].text)) if steps else None
    for step in steps[1:]:
        if value is None:
            return None
        if step.kind == "name":
            value = known.member(value, step.text)
        elif step.kind == "call":
            value = value.called
        else:
            value = value.of if value.kind == "instance" else value
    return value


def _literal(text: str) -> Value | None:
    string = _STRING.match(text)
    if string is not None:
        return (
            Value("instance", "builtins.bytes" if "b" in string[0].lower() else "builtins.str")
            if _is_one(text)
            else None
        )
    if text.startswith(("[", "{")) and closing(text, 0) == len(text) - 1:
        is_mapping = text[0] == "{" and (text == "{}" or len(split(split(text[1:-1], ",")[0], ":")) > 1)
        return Value(
            "instance",
            "builtins.list" if text[0] == "[" else "builtins.dict" if is_mapping else "builtins.set",
        )
    return None


def _is_one(text: str) -> bool:
    """Return whether a text that starts with a string is that string."""
    string = _STRING.match(text)
    return string is not None and text.find(string[1], string.end()) == len(text) - len(string[1])


def annotated(text: str, lookup: Lookup, known: KnownNames) -> Value | None:
    """Return what an annotation says about the value of a name; None if it may be one of several, or is not known."""
    text = text.strip()
    if len(text) > MAX_LENGTH:
        return None
    if len(text) > 1 and text[0] in "\"'" and _is_one(text):
        return annotated(text[1:-1], lookup, known)
    parts = [part for part in split(text, "|") if part not in _NEITHER]
    if len(parts) != 1:
        return None
    if parts[0] != text:
        return annotated(parts[0], lookup, known)
    if text.endswith("]"):
        return _with_arguments(text, lookup, known)
    value = value_of(text, lookup, known) if chain(text) else None
    if value is None and text in _BUILT_IN:
        value = builtin(_BUILT_IN[text])
    return value.called if value is not None and value.kind == "class" else None


def _with_arguments(text: str, lookup: Lookup, known: KnownNames) -> Value | None:
    """Return what an annotation with arguments says: `Optional[Client]`, `list[Client]`."""
    start = text.find("[")
    if start < 0 or closing(text, start) != len(text) - 1:
        return None
    name = text[:start].rpartition(".")[2]
    arguments = [part for part in split(text[start + 1 : -1], ",") if part]
    inner = [part for part in arguments if part not in _NEITHER]
    if name == "Union":
        return annotated(inner[0], lookup, known) if len(inner) == 1 else None
    if not inner:
        return None
    if name in _WRAPPERS:
        return annotated(inner[0], lookup, known)
    if name in ("Type", "type"):
        instance = annotated(inner[0], lookup, known)
        return Value("class", instance.key) if instance is not None and instance.kind == "instance" else None
    if name in _LAST or name in _HOLDERS:
        of = annotated(arguments[-1] if name in _LAST else inner[0], lookup, known)
        own = builtin(_BUILT_IN.get(name, name))
        if name == "Coroutine":
            return of
        if name in ("Tuple", "tuple") and len(inner) > 1:
            of = None
        return Value("instance", own.key if own is not None else "", of)
    generic = value_of(text[:start], lookup, known) if chain(text[:start]) else None
    return generic.called if generic is not None and generic.kind == "class" else None
