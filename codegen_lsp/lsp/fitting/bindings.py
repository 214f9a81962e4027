"""How the text of a function binds a name, read from its lines. Pure.

Python only. Knows parameters, assignments, loops, `with`, `except` and `isinstance`; of names that are bound in other
ways it says just that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.names.expressions import closing, split

HEAD = re.compile(r"[ \t]*(?:async[ \t]+)?(def|class)[ \t]+(\w+)")
_CONDITION = re.compile(
    r"[ \t]*(?:el)?if[ \t]+(?:.*\band[ \t]+)?isinstance\(\s*(\w+)\s*,\s*([\w.]+)\s*\)(?!.*\bor\b)"
)
_CLAIM = re.compile(r"[ \t]*assert[ \t]+isinstance\(\s*(\w+)\s*,\s*([\w.]+)\s*\)")
_COMMENT = re.compile(r"#.*")
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


def binding_of(name: str, text: str) -> Binding | None:
    """Return how a name is last bound before a function's text ends, at the cursor; None if the function doesn't."""
    return max(_bindings(name, text), key=lambda pair: pair[0], default=(0, None))[1]


def _bindings(name: str, text: str) -> Iterator[tuple[int, Binding]]:
    """Yield each place in a function's text that binds a name, and how."""
    text = _LONG_STRING.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    body = 0
    start = text.find("(")
    closed = closing(text, start) if start >= 0 else None
    if closed is not None:
        body = closed
        for parameter in split(_COMMENT.sub("", text[start + 1 : closed]), ","):
            found = re.match(rf"(\**){re.escape(name)}\s*(?::\s*([^=]+))?(?:=.*)?\Z", parameter, re.DOTALL)
            if found is not None:
                yield 0, Binding("annotation", found[2]) if found[2] and not found[1] else _OTHER
    end = text.rfind("\n") + 1  # the cursor's own line binds nothing yet
    for pattern, kind in _statements(name):
        for match in pattern.finditer(text, body, end):
            position = match.start()
            if kind == "value":
                yield position, _assigned(match, text)
            else:
                yield position, Binding(kind, match[1]) if kind != "other" else _OTHER
    for match in re.finditer(rf"\({re.escape(name)}[ \t]*:=[ \t]*", text):
        value_end = closing(text, match.start())
        yield match.start(), Binding("value", text[match.end() : value_end]) if value_end else _OTHER
    yield from _narrowed(name, text)


def _statements(
    name: str,
) -> Iterator[tuple[re.Pattern[str], Literal["value", "element", "entered", "class", "other"]]]:
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
