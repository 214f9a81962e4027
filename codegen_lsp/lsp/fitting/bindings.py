"""How the text of a function binds a name, read from its lines. Pure.

Python only. Knows parameters, assignments, loops, `with`, `except` and `isinstance`; of names that are bound in other
ways it says just that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Literal

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.names.expressions import closing, split

HEAD = re.compile(r"[ \t]*(?:async[ \t]+)?(def|class)[ \t]+(\w+)")
_CONDITION = re.compile(
    r"[ \t]*(?:el)?if[ \t]+(?:.*\band[ \t]+)?isinstance\(\s*(\w+)\s*,\s*([\w.]+)\s*\)(?!.*\bor\b)"
)
_CLAIM = re.compile(r"[ \t]*assert[ \t]+isinstance\(\s*(\w+)\s*,\s*([\w.]+)\s*\)")
_COMMENT = re.compile(r"#.*")
_PARAMETER = re.compile(r"(\**)(\w+)\s*(?::\s*([^=]+))?(?:=.*)?\Z", re.DOTALL)
LONGEST = 16 * 1024
"""Characters of the longest function that is read."""
LONGEST_LINE = 300
"""Characters of the longest line that is looked at: some patterns take a time that grows with its square."""
_LONG_STRING = re.compile(r"(\"\"\"|\'\'\')(?:\\.|(?!\1).)*\1", re.DOTALL)
BindingKind = Literal["annotation", "value", "element", "entered", "class", "other"]


@dataclass(frozen=True, slots=True)
class Binding:
    """How a name is bound."""

    kind: BindingKind
    """By an annotation, to a value, to an element of one, to what `with` enters, or to an instance of a class."""
    text: str = ""
    """The annotation, or the expression of the value, the container, the manager or the class."""


_OTHER = Binding("other")


class FunctionText:
    """The text of a function from its head to the cursor."""

    def __init__(self, text: str) -> None:
        self._text = text

    def binding(self, name: str) -> Binding | None:
        """Return how a name is last bound before the cursor's line; None if the function doesn't bind it.

        In a function that is too long to be read, any name may be bound in whatever way.
        """
        if name not in self._text:
            return None
        if len(self._text) > LONGEST:
            return _OTHER
        last: tuple[int, Binding | None] = -1, self._parameters.get(name)
        return max(chain([last], self._bindings(name)), key=lambda pair: pair[0])[1]

    @cached_property
    def _head(self) -> tuple[int, int]:
        """Where the brackets of the parameters are opened and closed; twice 0 without them."""
        return _brackets(self._text)

    @cached_property
    def _parameters(self) -> dict[str, Binding]:
        return parameters(self._text)

    @cached_property
    def _body(self) -> str:
        """What follows the head, up to the cursor's line, without long strings and long lines."""
        body = self._text[self._head[1] : self._text.rfind("\n") + 1]
        body = _LONG_STRING.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), body)
        return "\n".join(row if len(row) <= LONGEST_LINE else " " * len(row) for row in body.split("\n"))

    def _bindings(self, name: str) -> Iterator[tuple[int, Binding]]:
        """Yield each place in the body that binds a name, and how."""
        body = self._body
        for pattern, kind in _statements(name):
            for match in pattern.finditer(body):
                if kind == "value":
                    yield match.start(), _assigned(match, body)
                else:
                    yield match.start(), Binding(kind, match[1]) if kind != "other" else _OTHER
        for match in re.finditer(rf"\({re.escape(name)}[ \t]*:=[ \t]*", body):
            end = closing(body, match.start())
            yield match.start(), Binding("value", body[match.end() : end]) if end is not None else _OTHER
        yield from _narrowed(name, body + self._text[self._text.rfind("\n") + 1 :])


def parameters(text: str) -> dict[str, Binding]:
    """Return the parameters of the function whose head a text starts with, in order, and how each is bound."""
    start, end = _brackets(text)
    found: dict[str, Binding] = {}
    for parameter in split(_COMMENT.sub("", text[start + 1 : end]), ","):
        match = _PARAMETER.match(parameter)
        if match is not None:
            stars, name, annotation = match.groups()
            found[name] = Binding("annotation", annotation) if annotation and not stars else _OTHER
    return found


def _brackets(text: str) -> tuple[int, int]:
    start = text.find("(")
    end = closing(text, start) if start >= 0 else None
    return (start, end) if end is not None else (0, 0)


def _statements(name: str) -> Iterator[tuple[re.Pattern[str], BindingKind]]:
    """Yield the patterns of statements that bind a name."""
    word = re.escape(name)
    yield re.compile(rf"^[ \t]*{word}[ \t]*(?::([^=\n]+))?(?:=(?!=)[ \t]*(.*))?$", re.M), "value"
    yield re.compile(rf"\bfor[ \t]+{word}[ \t]+in[ \t]+(.+?):?[ \t]*$", re.M), "element"
    yield (
        re.compile(rf"^[ \t]*(?:async[ \t]+)?with\b[ \t(]*(?:.+,[ \t]*)?(.+?)[ \t]+as[ \t]+{word}\b", re.M),
        "entered",
    )
    yield re.compile(rf"^[ \t]*except[ \t]+(.+?)[ \t]+as[ \t]+{word}\b", re.M), "class"
    target = rf"(?:,[ \t]*\*?{word}\b|\b{word}[ \t]*,)"
    yield re.compile(rf"^[^=\n(\[{{]*{target}[^=\n(\[{{]*=(?!=)", re.M), "other"
    yield re.compile(rf"\bfor\b[^\n]*?(?:{target}|\({word}\b)[^\n]*?\bin\b", re.M), "other"
    yield re.compile(rf"^[ \t]*(?:global|nonlocal|del|case)\b[^\n]*?\b{word}\b", re.M), "other"
    yield re.compile(rf"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+{word}\b", re.M), "other"
    yield re.compile(rf"\blambda\b[^:\n]*\b{word}\b|^[ \t]*{word}[ \t]*[-+*/|&@%^]{{1,2}}=", re.M), "other"


def _assigned(match: re.Match[str], text: str) -> Binding:
    """Return the binding of `name: annotation = value`, with one of the two."""
    if match[1]:
        return Binding("annotation", match[1])
    return Binding("value", _whole(text, match.start(2))) if match[2] else _OTHER


def _whole(text: str, start: int) -> str:
    """Return the expression that starts at a place: to the end of the line on which its brackets are closed."""
    end = start
    while True:
        stop = text.find("\n", end)
        piece = text[start:stop] if stop >= 0 else text[start:]
        if stop < 0 or sum(map(piece.count, "([{")) <= sum(map(piece.count, ")]}")):
            return piece.split("  #")[0].strip()
        end = stop + 1


def _narrowed(name: str, text: str) -> Iterator[tuple[int, Binding]]:
    """Yield the classes that conditions around the cursor, and assertions before it, say that a name has."""
    rows = text.split("\n")
    limit = lines.columns(rows[-1]) if rows[-1].strip() else len(rows[-1].expandtabs(8))
    position = len(text) - len(rows[-1])
    for row in reversed(rows[:-1]):
        position -= len(row) + 1
        columns = lines.columns(row)
        if not row.strip() or columns > limit:
            continue
        said = (_CONDITION.match(row) if columns < limit else None) or _CLAIM.match(row)
        if said is not None and said[1] == name:
            yield position, Binding("class", said[2])
        limit = columns
