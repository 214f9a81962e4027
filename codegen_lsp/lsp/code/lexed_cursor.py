"""A cursor with the lines around it and what the lexer says of the text before and after it.

The base of `Site`: lines, widths, strings, comments and brackets. Blocks and statements are computed from it.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property, lru_cache

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.cursor import Cursor, indent_steps
from codegen_lsp.lsp.code.languages import Language, language
from codegen_lsp.lsp.code.lexer import LINE_END, PAIRS, Frame, Token, frames_at_end, tokens

_REACH = 16 * 1024
"""Characters from the cursor whose lines are looked at, in each direction."""
_LEXED = 32 * 1024
"""Characters before the cursor that the lexer reads, back to a line that is surely code."""
_SURELY_CODE = re.compile(
    r"""
    ^(?:
        async\ def | def | class | import | from            # Python
        | export | function                                 # JavaScript, PHP
        | func | package | type | struct                    # Go, Swift
        | fn | pub | impl                                   # Rust
        | public | static                                   # Java, C#
    )[ ]
    """,
    re.MULTILINE | re.VERBOSE,
)
_AFTER_BLOCK = re.compile(r"^(?:[)\]}]+[;,]?|end)\n\n+(?=\S)", re.MULTILINE)
"""A blank line below a block that was closed at the margin, which is surely code too."""
_HALF_CHARACTER = re.compile(r"(?:(?<!\w)|(?<=\b[buUL]))'(?:\\(?:'|[^'\n]{0,10})|[^'\\\n]?)\Z")
_NO_LIFETIME = re.compile(r"[buUL]?'(?:\\.*|[^\w\s'])\Z")
"""A half-typed character that can't be the name of a lifetime."""


class LexedCursor:
    """A cursor and what follows from the text around it.

    All offsets in its values count from the start of `region`, the part of the text before the cursor that
    the lexer reads.
    """

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.language: Language = language(cursor.language)
        self.before = cursor.line_prefix
        """The cursor's line up to the cursor."""
        self.after = cursor.line_suffix
        """The cursor's line from the cursor on."""

    # Lines ---------------------------------------------------------------------------------------------

    @cached_property
    def above(self) -> tuple[str, ...]:
        """The lines above the cursor's, nearest last, as far as is worth looking."""
        prefix = self.cursor.prefix
        end = len(prefix) - len(self.before)
        start = max(0, end - _REACH)
        return tuple(lines.normalize(prefix[start:end]).split("\n")[1 if start else 0 : -1])

    @cached_property
    def below(self) -> tuple[str, ...]:
        """The lines below the cursor's, nearest first, as far as is worth looking."""
        start = len(self.after)
        return tuple(lines.normalize(self.cursor.suffix[start : start + _REACH]).split("\n")[1:])

    @cached_property
    def next_line(self) -> str:
        """The nearest line below that isn't blank, or nothing."""
        return next((line for line in self.below if line.strip()), "")

    @cached_property
    def previous_line(self) -> str:
        """The nearest line above that isn't blank, or nothing."""
        return next((line for line in reversed(self.above) if line.strip()), "")

    @cached_property
    def is_blank(self) -> bool:
        """Whether nothing but white space comes before the cursor on its line."""
        return not self.before.strip()

    # Indentation ---------------------------------------------------------------------------------------

    @cached_property
    def unit(self) -> int:
        """The columns of one level of indentation."""
        return lines.unit(self.cursor.indent)

    @cached_property
    def base(self) -> int:
        """The columns that the cursor's line is indented by."""
        return self.width(self.before)

    def width(self, line: str) -> int:
        """Return how far a line is indented, in columns."""
        return lines.width(line, self.cursor.indent)

    @cached_property
    def steps(self) -> Counter[str]:
        """How often the text around the cursor has each step of indentation, without continued lines."""
        sure, unsure, _ = indent_steps(self.region[-_REACH:], self.suffix)
        return sure + unsure

    @cached_property
    def is_whole(self) -> bool:
        """Whether the lexer reads all of the document."""
        return len(self.cursor.prefix) <= _LEXED and len(self.cursor.suffix) <= _REACH

    @cached_property
    def shows_spaces(self) -> bool:
        """Whether a model is shown spaces where the document is indented by tabs.

        Nearly all Python that models have read is indented by spaces.
        """
        return self.cursor.language == "python" and self.cursor.indent.startswith("\t")

    # What is open --------------------------------------------------------------------------------------

    @cached_property
    def region(self) -> str:
        """The text before the cursor that the lexer reads, line endings `\\n`."""
        return _lexed_region(self.cursor.prefix)

    @cached_property
    def _lexed(self) -> tuple[tuple[Frame, ...], tuple[Token, ...]]:
        """What is open at the cursor, and the tokens before it."""
        frames, before = _lexed_by_lines(self.region, self.cursor.language)
        if self.language.characters and (not frames or frames[-1].kind in ("bracket", "interpolation")):
            half = _HALF_CHARACTER.search(self.region, max(0, len(self.region) - 16))
            is_sure = not self.language.lifetimes or self.after.startswith("'")
            if half is not None and (is_sure or _NO_LIFETIME.search(half.group())):
                frames.append(Frame("string", "'", "'", half.start(), _CHARACTER))
        return tuple(frames), before

    @property
    def frames(self) -> tuple[Frame, ...]:
        """What is open at the cursor, outermost first: brackets, strings, a comment."""
        return self._lexed[0]

    @cached_property
    def code_frames(self) -> tuple[Frame, ...]:
        """What is open at the cursor, without the line comment that it is in."""
        return self.frames[:-1] if self.frames and self.frames[-1].closer == LINE_END else self.frames

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The tokens of `region`."""
        return self._lexed[1]

    @cached_property
    def open_string(self) -> str:
        """The quote that opened the string that the cursor is in; empty outside of strings."""
        top = self.frames[-1] if self.frames else None
        return top.text if top is not None and top.kind == "string" else ""

    @cached_property
    def in_comment(self) -> bool:
        """Whether the cursor is in a comment."""
        return bool(self.frames) and self.frames[-1].kind == "comment"

    @cached_property
    def in_brackets(self) -> bool:
        """Whether a bracket is open at the cursor."""
        return any(frame.kind == "bracket" for frame in self.frames)

    @cached_property
    def closings(self) -> tuple[tuple[int, int], ...]:
        """(index of a frame, offset after the cursor) of each open frame that the text below closes.

        Innermost first. In `f([‸])` it is `(1, 0), (0, 1)`.
        """
        stack = list(self.frames)
        lowest = len(stack)
        closings: list[tuple[int, int]] = []
        for token in tokens(self.suffix, self.cursor.language, stack):
            while lowest > len(stack):
                lowest -= 1
                if token.text == self.frames[lowest].closer or self.frames[lowest].kind != "bracket":
                    closings.append((lowest, token.end - 1))
            if not lowest:
                break
        return tuple(closings)

    @cached_property
    def suffix(self) -> str:
        """The text after the cursor that the lexer reads, line endings `\\n`."""
        return lines.normalize(self.cursor.suffix[:_REACH])

    def first_line_of_string(self, line: str) -> str:
        """Return the line that the string starts on that ends on `line`, the last one above; else `line`."""
        end = len(self.region.rstrip())
        for token in reversed(self.tokens):
            if token.end < end:
                break
            if token.kind == "string" and token.end == end and "\n" in token.text:
                return self.line_of(token.start)
        return line

    def line_of(self, offset: int) -> str:
        """Return the line of `region` that holds an offset, up to its end."""
        end = self.region.find("\n", offset)
        return self.region[self.region.rfind("\n", 0, offset) + 1 : end if end >= 0 else None]


_CHARACTER = language("c").quotes[0]
"""How a half-typed character literal is read on: as a string of one line."""


def _lexed_by_lines(text: str, name: str) -> tuple[list[Frame], tuple[Token, ...]]:
    """Return what is open at the end of a text, and its tokens: those above its last line are remembered."""
    spec = language(name)
    end = text.rfind("\n") + 1
    if spec.preprocessor or spec.literal:  # what a line means depends on more than what is open above it
        end = 0
    open_above, above = _lexed_above(text[:end], name)
    frames = list(open_above)
    if frames and frames[-1].kind in ("string", "comment") and above and above[-1].start > frames[-1].start:
        end, above = above[-1].start, above[:-1]  # the string goes on
    return frames, (*above, *tokens(text, name, frames, end))


@lru_cache(maxsize=8)
def _lexed_above(text: str, name: str) -> tuple[tuple[Frame, ...], tuple[Token, ...]]:
    """Return what is open at the end of a text, and its tokens."""
    frames: list[Frame] = []
    read = tuple(tokens(text, name, frames))
    return tuple(frames), read


def frames_before(prefix: str, name: str) -> tuple[Frame, ...]:
    """Return what is open at the end of a text; a guess in very long texts."""
    return _lexed_above(_lexed_region(prefix), name)[0]


def open_brackets(text: str, name: str, kinds: str = "([{") -> list[str]:
    """Return the brackets that a text opens and doesn't close, outermost first."""
    return [frame.text for frame in frames_at_end(text, name) if frame.text in tuple(kinds)]


def closing_literal(frame: Frame) -> str:
    """Return the text that closes a bracket or string, as an editor would insert it."""
    if frame.kind in ("bracket", "interpolation"):
        return frame.closer
    return frame.text if frame.kind == "string" and frame.text not in PAIRS else ""


def _lexed_region(prefix: str) -> str:
    start = max(0, len(prefix) - _LEXED)
    if start:
        match = _SURELY_CODE.search(prefix, start)
        after = _AFTER_BLOCK.search(prefix, start) if match is None else None
        code = match.start() if match is not None else after.end() if after is not None else None
        start = code if code is not None else prefix.find("\n", start) + 1 or start
    return lines.normalize(prefix[start:])
