"""The lexer: strings, comments, brackets and line ends of any language, in one pass.

All questions of where a string ends, whether text is code, and which brackets are open are answered here. What
differs from language to language is in the table (`languages.py`). The text may be cut off or wrong anywhere:
the lexer never fails, and takes time linear in the text, since each of its patterns moves on or gives up within
a bounded number of characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from codegen_lsp.lsp.code.languages import Language, Quote, language

PAIRS = {")": "(", "]": "[", "}": "{"}
"""Each closing bracket's opening one."""
CLOSING = {opener: closer for closer, opener in PAIRS.items()}
"""Each opening bracket's closing one."""

LINE_END = r"(?=\n)"
"""What closes a line comment, as a regular expression."""
_REACH = 50
"""Frames that a closing brace or a line's end looks through for what it closes."""


class Token(NamedTuple):
    """One piece of a text; what is between two tokens is code without brackets."""

    kind: str
    """`open`, `close`, `newline`, `join` (an escaped line end), `string`, `comment`."""
    text: str
    start: int
    depth: int
    """How many brackets and strings are open around it; -1 for a bracket that closes nothing."""

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.start + len(self.text)


class Frame(NamedTuple):
    """Something that is open at a place: a bracket, a string, a comment, or code within a string."""

    kind: str
    """`bracket`, `interpolation`, `string` or `comment`."""
    text: str
    """The bracket, quote or comment mark that opened it."""
    closer: str
    """What closes it; a regular expression in strings and comments."""
    start: int
    """Offset in the text that was read at which it was opened."""
    quote: Quote | None = None


def tokens(text: str, name: str, frames: list[Frame] | None = None, position: int = 0) -> Iterator[Token]:
    """Yield the tokens of a text, from an offset on, in the language with an LSP id.

    `frames` are what is open at that offset, outermost first, and are brought up to date in place: at
    the end they are what is open at the text's end. In `f("a{b}", [` of Python:

        open `(`, string `"a{b}"`, open `[`; frames at the end: `(`, `[`
    """
    frames = [] if frames is None else frames
    spec = language(name)
    code, plain = _code_pattern(name), _plain_pattern(name)
    branches: list[tuple[Frame, ...]] = []
    while position < len(text):
        top = frames[-1] if frames else None
        if top is not None and top.kind in ("string", "comment"):
            nested = top.text if spec.nested and top.closer != LINE_END else ""
            token, position = _inside(text, position, top, frames, nested)
            if token is not None:
                yield token
            continue
        position = plain.match(text, position).end()  # type: ignore[union-attr]
        match = code.match(text, position)
        position = match.end() if match is not None else position + 1
        if match is not None and match.lastgroup == "directive":
            _branch(match.group(), branches, frames)
        elif match is not None and match.lastgroup != "escape":
            yield _token(match, spec, frames)


def frames_at_end(text: str, name: str, frames: tuple[Frame, ...] = ()) -> tuple[Frame, ...]:
    """Return what is open at the end of a text, outermost first."""
    stack = list(frames)
    for _ in tokens(text, name, stack):
        pass
    return tuple(stack)


def _token(match: re.Match[str], spec: Language, frames: list[Frame]) -> Token:
    """Return the token of a match in code, and put what it opens on the stack or take off what it closes."""
    kind, text, start = str(match.lastgroup), match.group(), match.start()
    if kind in ("newline", "join", "string"):
        if kind == "newline":
            _end_line(frames)
        return Token(kind, text, start, len(frames))
    if kind == "open":
        frames.append(Frame("bracket", text, CLOSING[text], start))
        return Token(kind, text, start, len(frames) - 1)
    if kind == "close":
        return Token(kind, text, start, _close(text, frames, spec.braces))
    if kind == "comment":
        if match.end() == len(match.string):
            frames.append(Frame("comment", text, LINE_END, start))
        return Token(kind, text, start, len(frames))
    depth = len(frames)
    number = int(kind[1:])
    if kind.startswith("b"):
        opener, closer = spec.block_comments[number]
        frames.append(Frame("comment", opener, re.escape(closer), start))
        return Token("comment", text, start, depth)
    quote = spec.quotes[number]
    extra = next((g for g in match.groups()[match.re.groupindex[kind] :] if g is not None), "")
    closer = quote.closer.replace("%", re.escape(extra))
    frames.append(Frame("string", text, closer, start, quote))
    return Token("string", text, start, depth)


def _branch(directive: str, branches: list[tuple[Frame, ...]], frames: list[Frame]) -> None:
    """Bring what is open up to date at a directive: each branch of an `#if` starts with what was open above it."""
    if "endif" in directive:
        if branches:
            branches.pop()
    elif "if" in directive and "el" not in directive:
        branches.append(tuple(frames))
        del branches[:-_REACH]
    elif branches:
        frames[:] = branches[-1]


def _close(text: str, frames: list[Frame], forgives: bool) -> int:
    """Close a bracket and return its depth.

    A brace that `forgives` closes brackets that were forgotten inside it (`{ f(a }`); any other bracket that
    doesn't match the innermost one closes nothing, such as the `)` of a shell's `case` pattern.
    """
    if frames and frames[-1].closer == text:
        frames.pop()
        return len(frames)
    if text != "}" or not forgives:
        return -1
    for index in range(len(frames) - 1, max(-1, len(frames) - _REACH), -1):
        if frames[index].kind != "bracket":
            break
        if frames[index].closer == text:
            del frames[index:]
            return index
    return -1


def _end_line(frames: list[Frame]) -> None:
    """Close the strings of one line whose end comes within code inside them (`"${f(` and a line break)."""
    for index in range(len(frames) - 1, max(-1, len(frames) - _REACH), -1):
        quote = frames[index].quote
        if quote is not None and not quote.multiline:
            del frames[index:]
            return


def _inside(
    text: str, start: int, top: Frame, frames: list[Frame], nested: str = ""
) -> tuple[Token | None, int]:
    """Return the token up to the end of a string or comment, or up to code within it; and the offset to go on from."""
    kind = top.kind
    position = start
    for match in _inside_pattern(top.closer, top.quote, nested).finditer(text, start):
        position = match.end()
        group = match.lastgroup
        if group == "escape":
            continue
        if group == "nested":
            frames.append(Frame("comment", nested, top.closer, match.start()))
        elif group == "code":
            frames.append(Frame("interpolation", match.group(), CLOSING[match.group()[-1]], match.start()))
        else:  # closed; or at the line's end, left open
            frames.pop()
            position = match.start() if group == "newline" else position
        piece = text[start:position]
        return (Token(kind, piece, start, len(frames)) if piece else None), position
    piece = text[start:]
    return (Token(kind, piece, start, len(frames) - 1) if piece else None), len(text)


@lru_cache(maxsize=256)
def _inside_pattern(closer: str, quote: Quote | None, nested: str) -> re.Pattern[str]:
    """Return the pattern of all that matters within a string or comment."""
    if quote is None:
        within = f"(?P<nested>{re.escape(nested)})|" if nested else ""
        return re.compile(f"{within}(?P<close>{closer})")
    parts = []
    if quote.escape:
        parts.append(f"(?P<escape>{quote.escape})")
    if quote.interpolation:
        parts.append(f"(?P<code>{quote.interpolation})")
    parts.append(f"(?P<close>{closer})")
    if not quote.multiline:
        parts.append(r"(?P<newline>\n)")
    return re.compile("|".join(parts), re.DOTALL)


_CHARACTER = r"(?:(?<!\w)|(?<=\b[buUL]))'(?:\\[^\n]{1,10}?|[^'\\\n])'|'\\''"
_REGEX = r"""(?x:
    (?:  # where a value may start: after an operator or bracket, `return`, or at a line's start
        (?<=[(,=:\[!&|?{};+~]) | (?<=[(,=:\[!&|?{};+~]\ ) | (?<=return\ ) | LINE_START
    )
    /(?![*/\ ])
    (?>(?:  # escapes, classes, and anything else on the line
        \\[^\n] | \[(?>(?:\\[^\n]|[^\]\\\n]){0,40})\] | [^/\\\n\[]
    ){1,100})
    /\w{0,8}
)""".replace(
    "LINE_START",
    "|".join([rf"(?<=\n[ ]{{{n}}})" for n in range(2, 25, 2)] + [rf"(?<=\n\t{{{n}}})" for n in range(1, 7)]),
)


@lru_cache(maxsize=64)
def _code_pattern(name: str) -> re.Pattern[str]:
    """Return the pattern of all that matters in code of a language."""
    spec = language(name)
    parts = [r"(?P<newline>\n)|(?P<join>\\\n)"]
    if spec.escapes:
        parts.append(r"(?P<escape>\\.)")
    if spec.preprocessor:
        parts.append(r"(?P<directive>#[ \t]*(?:if|ifdef|ifndef|elif|else|endif)\b)")
    # Block comments first: `--[[` is not a line comment.
    parts += [f"(?P<b{n}>{re.escape(opener)})" for n, (opener, _) in enumerate(spec.block_comments)]
    if spec.line_comments:
        marks = "|".join(map(re.escape, spec.line_comments))
        parts.append(rf"(?P<comment>{spec.comment_guard}(?:{marks})[^\n]*)")
    literals = [_CHARACTER] * spec.characters + [_REGEX] * spec.regexes
    if spec.literal:
        literals.insert(0, spec.literal)
    if literals:
        parts.append(f"(?P<string>{'|'.join(literals)})")
    parts += [f"(?P<q{n}>{quote.opener})" for n, quote in enumerate(spec.quotes)]
    parts.append(r"(?P<open>[(\[{])|(?P<close>[)\]}])")
    return re.compile("|".join(parts), re.DOTALL)


@lru_cache(maxsize=64)
def _plain_pattern(name: str) -> re.Pattern[str]:
    """Return the pattern of code in which no token can start."""
    spec = language(name)
    marks = [mark[0] for mark in (*spec.line_comments, *(opener for opener, _ in spec.block_comments))]
    starts = set("\n\\'/()[]{}" + "#" * spec.preprocessor).union(
        *marks, spec.literal_start, *(quote.starts for quote in spec.quotes)
    )
    return re.compile(f"[^{re.escape(''.join(sorted(starts)))}]*+")
