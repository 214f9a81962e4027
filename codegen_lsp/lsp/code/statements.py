"""Python as a list of statements, read without a parser: how far each is indented, and the names in it.

Knows strings, comments, brackets and line joins; what is in strings and comments is left out. Works on code that is
half typed. For hints about the line at the cursor, which may be wrong about rare code but never raise.
"""

from __future__ import annotations

import builtins
import keyword
import re
from dataclasses import dataclass
from functools import lru_cache

from codegen_lsp.lsp.code.lexer import Frame, tokens

_PREFIX = re.compile(r"\b[a-zA-Z]{1,2}\Z")
"""The prefix of a string's quote: `f`, `rb`."""
_SPACE = re.compile(r"[ \t]*")
_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")
_ANY_NAME = re.compile(r"[^\W\d]\w*")
_KNOWN = frozenset(dir(builtins)) | frozenset(keyword.kwlist) | frozenset(keyword.softkwlist)
_ASSIGNS = re.compile(r"[()\[\]{}]|[=!<>:+\-*/%&|^@]?=+")
"""Brackets, and what has an equals sign in it; only `=` by itself assigns."""
_ANNOTATED = re.compile(r"([^\W\d]\w*)\s*:(?!=)\s*\S")
_SEPARATORS = re.compile(r"[,()]")
_KEYWORD_ARGUMENT = re.compile(r"([(,]\s*)[^\W\d]\w*\s*=(?!=)")
_LOOP = re.compile(r"\bfor\b(.*?)\bin\b", re.DOTALL)
_LAMBDA = re.compile(r"\blambda\b([^:]*):")
_AS = re.compile(r"\bas\b\s*\(?([^:()=]*)|([^\W\d]\w*)\s*:=")
_DEFINES = re.compile(r"(?:async\s+)?(?:def|class)\b\s*([^\W\d]\w*)?(.*)", re.DOTALL)
_ENDS = frozenset(["return", "raise", "break", "continue"])
_CONTINUES = frozenset(["else", "elif", "except", "finally"])


@dataclass(frozen=True, slots=True)
class Statement:
    """One logical line of code."""

    leading: str
    """The white space before it."""
    code: str
    """Its text, on one line, without comments; strings are empty ones."""

    @property
    def indent(self) -> int:
        """Columns; tabs go to the next multiple of eight, as Python reads them."""
        return len(self.leading.expandtabs(8))

    @property
    def word(self) -> str:
        """The word that it starts with, or nothing."""
        match = _ANY_NAME.match(self.code)
        return match.group() if match else ""

    @property
    def opens(self) -> bool:
        """Whether a block follows it."""
        return self.code.endswith(":")

    @property
    def ends(self) -> bool:
        """Whether nothing can follow it in its block."""
        return self.word in _ENDS

    @property
    def continues(self) -> bool:
        """Whether it is a clause of a statement above it: `else`, `except`."""
        return self.word in _CONTINUES

    @property
    def defines(self) -> bool:
        """Whether it is the head of a function or class."""
        return _DEFINES.match(self.code) is not None

    def names(self) -> list[str]:
        """Return each occurrence of a name in it, without attributes, keywords and built-in names."""
        code = _KEYWORD_ARGUMENT.sub(r"\1", self.code)
        return [name for name in _NAME.findall(code) if name not in _KNOWN and not name.startswith("__")]

    def binds(self) -> frozenset[str]:
        """Return the names that it binds, in comprehensions and parameters too."""
        if self.word in ("import", "from", "global", "nonlocal", "case"):
            return frozenset(_ANY_NAME.findall(self.code))
        defined = _DEFINES.match(self.code)
        if defined is not None:
            return frozenset([defined.group(1) or "", *_NAME.findall(defined.group(2))])
        pieces = [m.group(1) for m in _LOOP.finditer(self.code)]
        pieces += [m.group(1) for m in _LAMBDA.finditer(self.code)]
        pieces += [m.group(1) or m.group(2) or "" for m in _AS.finditer(self.code)]
        return frozenset([name for piece in pieces for name in _NAME.findall(piece)] + self.targets())

    def targets(self) -> list[str]:
        """Return the names that an assignment binds: `a` and `b` of `a, (b, c.d) = x`, none of `a += 1`."""
        *targets, value = _sides(self.code)
        if not targets:
            annotated = _ANNOTATED.match(self.code)
            return [annotated.group(1)] if annotated and annotated.group(1) not in _KNOWN else []
        del value
        pieces = [p.strip(" *") for target in targets for p in _SEPARATORS.split(target.partition(":")[0])]
        return [piece for piece in pieces if _ANY_NAME.fullmatch(piece) and piece not in _KNOWN]

    def needs(self) -> list[str]:
        """Return the names that must be bound before it runs, in order: `n` and `x` of `y = [i * n for i in x]`."""
        code = self.code.removeprefix("async").lstrip()
        if (loop := _LOOP.match(code)) is not None:  # what it loops over comes before its own names
            return Statement("", code[loop.end() :].strip(": ")).needs()
        *targets, value = _sides(self.code)
        assigned = set(self.targets())
        bound = self.binds() - assigned
        before = [n for target in targets for n in _NAME.findall(target) if n not in assigned]
        names = before + _NAME.findall(_KEYWORD_ARGUMENT.sub(r"\1", value))
        if not targets and assigned:
            names = [n for n in names if n not in assigned]  # an annotation
        known = set(self.names())
        return [n for n in names if n in known and n not in bound]


@lru_cache(maxsize=4096)
def names_in(statement: Statement) -> frozenset[str]:
    """Return the names that a statement uses or binds; the last statements are remembered."""
    return statement.binds().union(statement.names())


@dataclass(frozen=True, slots=True)
class Code:
    """The statements of a text, and what crosses its edges."""

    statements: tuple[Statement, ...]
    closes: bool
    """It closes a bracket that it doesn't open."""
    ends_within: bool
    """It ends within a string or brackets."""


@lru_cache(maxsize=16)
def read(text: str) -> Code:
    """Return the statements of a text that starts outside of strings; the last texts are remembered.

    `x = (a,  # one␤  "b")␤y = 1` is two statements, `x = (a,   "")` and `y = 1`.
    """
    statements: list[Statement] = []
    pieces: list[str] = []
    frames: list[Frame] = []
    string: int | None = None
    """How many frames are open outside of the string that is being read."""
    position = line = depth = 0
    closes = False
    for token in tokens(text, "python", frames):
        if string is not None:
            position = token.end
            string = string if len(frames) > string else None
            continue
        piece = text[position : token.start]
        position = token.end
        if token.kind == "string":
            pieces += [_PREFIX.sub("", piece), '""']
            string = token.depth if len(frames) > token.depth else None
            continue
        pieces.append(piece)
        if token.kind in ("open", "close"):
            pieces.append(token.text)
            depth += 1 if token.kind == "open" else -1
            closes, depth = closes or depth < 0, max(0, depth)
        elif token.kind == "join" or (token.kind == "newline" and depth):
            pieces.append(" ")
        elif token.kind == "newline":
            _add(statements, text, line, pieces)
            pieces, line = [], position
    if string is None:
        pieces.append(text[position:])
    _add(statements, text, line, pieces)
    return Code(tuple(statements), closes, depth > 0 or string is not None)


def _add(out: list[Statement], text: str, start: int, pieces: list[str]) -> None:
    code = "".join(pieces).strip()
    if code and code != '""':
        space = _SPACE.match(text, start)
        out.append(Statement(space.group() if space else "", code))


def _sides(code: str) -> list[str]:
    """Return the texts on either side of the equals signs of an assignment; the whole text if it is not one."""
    depth, start = 0, 0
    out: list[str] = []
    for match in _ASSIGNS.finditer(code):
        if match.group() in ("(", "[", "{"):
            depth += 1
        elif match.group() in (")", "]", "}"):
            depth -= 1
        elif match.group() == "=" and depth == 0:
            out.append(code[start : match.start()])
            start = match.end()
        elif depth == 0 and not out:
            return [code]  # a comparison, or an augmented assignment
    return [*out, code[start:]]
