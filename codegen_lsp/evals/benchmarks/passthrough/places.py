"""Places of real files where a suggestion would be asked for, and what the file has there. Pure.

A place's document is the file with a gap: `prefix + suffix`. The file itself is `prefix + continuation`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.blocks import starts_with_word
from codegen_lsp.lsp.code.languages import Language, language
from codegen_lsp.lsp.code.lexer import Token, tokens

KINDS = {
    "line": "rest of a line",
    "auto-closed": "block in auto-closed braces",
    "opened": "block after an open brace",
    "head": "block after a head",
    "column 0": "line from column 0",
    "closers": "line of closers",
    "whole line": "whole line",
}
"""The kinds of places, with the name that a report gives them."""
_LONGEST = 600
"""Characters of the longest text that is taken out."""
_CONTINUATION = 1500
"""Characters that the stand-in model writes."""
_CLOSER_LINE = re.compile(r"[ \t]*[)\]}][)\]};,]*[ \t]*")
_AFTER_BRACE = re.compile(r"[)\]};,]*")


@dataclass(frozen=True, slots=True)
class Place:
    """A document with a gap at the cursor."""

    path: str
    language: str
    kind: str
    line: int
    """1-based line of the cursor."""
    prefix: str
    suffix: str
    wanted: str
    """What is missing, without white space at its end."""
    continuation: str
    """What the file has from the cursor on, of which `wanted` is the start."""
    gap: int | None = None
    """How many characters of the file are missing: all that may arrive. At least `wanted`; None for any number."""


def places_of(path: str, name: str, text: str, seed: int, count: int) -> list[Place]:
    """Return at most `count` places of each kind in a file, the same for the same seed and path."""
    text = lines.normalize(text)
    chooser = random.Random(f"{seed}:{path}")
    source = _Source(path, name, text)
    chosen: list[Place] = []
    for kind, find in _FINDERS.items():
        gaps = list(find(source))
        for start, end, resume in sorted(chooser.sample(gaps, min(count, len(gaps)))):
            closer = text[end:resume] if kind == "auto-closed" else ""
            answer = text[start:end].rstrip()
            if not answer.strip() or len(answer) > _LONGEST:
                continue
            chosen.append(
                Place(
                    path=path,
                    language=name,
                    kind=kind,
                    line=text.count("\n", 0, start) + 1,
                    prefix=text[:start],
                    suffix=closer + text[resume:],
                    wanted=answer,
                    continuation=text[start : start + _CONTINUATION],
                    gap=resume - start if kind != "auto-closed" else end - start,
                )
            )
    return chosen


CutOut = tuple[int, int, int]
"""(start, end of what is wanted, where the text after the gap goes on)."""


class _Source:
    """A file's text with its tokens and lines."""

    def __init__(self, path: str, name: str, text: str) -> None:
        self.path = path
        self.text = text
        self.language: Language = language(name)
        self.tokens: tuple[Token, ...] = tuple(tokens(text, name))
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def lines(self) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of each line that isn't blank."""
        for start in self.starts:
            end = self.text.find("\n", start)
            end = len(self.text) if end < 0 else end
            if self.text[start:end].strip():
                yield start, end

    def width(self, start: int) -> int:
        """Return the columns that the line at `start` is indented by."""
        end = self.text.find("\n", start)
        return len(lines.leading(self.text[start : end if end >= 0 else None]).expandtabs(4))

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield (offset after an opening brace at a line's end, offset of its closing brace at a line's start)."""
        opened: dict[int, Token] = {}
        for token in self.tokens:
            if token.kind == "open" and token.text == "{":
                opened[token.depth] = token
            elif token.kind == "close" and token.text == "}" and token.depth in opened:
                start = opened.pop(token.depth).end
                line_start = self.text.rfind("\n", 0, token.start) + 1
                empty = not self.text[line_start : token.start].strip()
                if empty and self.text[start : start + 1] == "\n" and token.start - start <= _LONGEST:
                    yield start, token.start

    def statement(self, start: int, closer: int) -> tuple[int, int] | None:
        """Return (end of what must follow a brace's block, end of the block's statement).

        The closing brace and what closes with it must follow: `}` of `} else {`, `});`. So must the clauses of a
        statement that is incomplete without them, and the rest of a line that opens nothing: `} while (x);`. None
        where the statement is too long.
        """
        match = _AFTER_BRACE.match(self.text, closer)
        end = match.end() if match is not None else closer + 1
        line_end = self._line_end(end)
        is_over = not self.text[end:line_end].strip()
        if is_over and not self._clause_at(line_end):
            return end, end
        head_start = self.text.rfind("\n", 0, start) + 1
        depth = min(t.depth for t in self.tokens if head_start <= t.start < start and t.depth >= 0)
        newlines = (t for t in self.tokens if t.kind == "newline" and t.start >= end and t.depth <= depth)
        stop = next((t.start for t in newlines if not self._clause_at(t.start)), len(self.text))
        if stop - start > _CONTINUATION:
            return None
        if starts_with_word(self.text[head_start:start].lstrip(" \t}"), self.language.needs_clause):
            return stop, stop
        goes_on = self._clause_at(end) or self.text[:line_end].rstrip().endswith(("{", "(", "["))
        return (stop if stop == line_end and not goes_on else end), stop

    def _line_end(self, offset: int) -> int:
        end = self.text.find("\n", offset)
        return end if end >= 0 else len(self.text)

    def _clause_at(self, offset: int) -> bool:
        """Return whether the next word after an offset goes on with a statement: `else`, `catch`."""
        return starts_with_word(self.text[offset : offset + 80].lstrip(), self.language.clauses)


def _rests(source: _Source) -> Iterator[CutOut]:
    for start, end in source.lines():
        line = source.text[start:end]
        indent = len(lines.leading(line))
        offsets = [
            m.start()
            for m in re.finditer(r"(?<=\W)(?=\w)|(?<=\w)(?=\W)", line)
            if indent < m.start() < len(line.rstrip())
        ]
        if offsets:
            offset = start + offsets[(start * 7 + len(line)) % len(offsets)]
            yield offset, end, end


def _auto_closed(source: _Source) -> Iterator[CutOut]:
    if not source.language.braces:
        return
    for start, closer in source.blocks():
        yield start, closer, closer


def _opened(source: _Source) -> Iterator[CutOut]:
    if source.language.braces:
        for start, closer in source.blocks():
            gap = source.statement(start, closer)
            if gap is not None:
                yield start, *gap


def _heads(source: _Source) -> Iterator[CutOut]:
    if source.language.blocks not in ("indentation", "keywords"):
        return
    logical = _logical_lines(source)
    for index, (start, end) in enumerate(logical[:-1]):
        text = source.text[start:end].replace("\n", " ")
        width = source.width(start)
        if not lines.opens_block(text, source.language.id) or source.width(logical[index + 1][0]) <= width:
            continue
        following = [s for s in logical[index + 1 :] if source.width(s[0]) <= width]
        stop = next(
            (n for n in range(index + 1, len(logical)) if source.width(logical[n][0]) <= width), len(logical)
        )
        body_end = logical[stop - 1][1]
        if following and source.language.closers:
            closer = source.text[following[0][0] : following[0][1]].strip()
            if source.width(following[0][0]) != width or closer not in source.language.closers:
                continue
            body_end = following[0][1]
        yield end, body_end, body_end


def _logical_lines(source: _Source) -> list[tuple[int, int]]:
    """Return (start, end) of each line that isn't blank, those within brackets and strings joined."""
    bounds = [token.start for token in source.tokens if token.kind == "newline" and token.depth == 0]
    starts = [0, *(bound + 1 for bound in bounds)]
    pairs = zip(starts, [*bounds, len(source.text)], strict=True)
    return [(start, end) for start, end in pairs if source.text[start:end].strip()]


def _column_0(source: _Source) -> Iterator[CutOut]:
    for start, end in source.lines():
        if source.text[start] in " \t":
            yield start, end, end


def _closers(source: _Source) -> Iterator[CutOut]:
    for start, end in source.lines():
        line = source.text[start:end]
        words = line.strip().rstrip(",;)") in source.language.closers
        if (
            words
            or _CLOSER_LINE.fullmatch(line)
            or (source.language.blocks == "markup" and re.fullmatch(r"\s*</\w+>", line))
        ):
            yield start + len(lines.leading(line)), end, end


def _whole_lines(source: _Source) -> Iterator[CutOut]:
    for start, end in source.lines():
        yield start + len(lines.leading(source.text[start:end])), end, end


_FINDERS = {
    "line": _rests,
    "auto-closed": _auto_closed,
    "opened": _opened,
    "head": _heads,
    "column 0": _column_0,
    "closers": _closers,
    "whole line": _whole_lines,
}
