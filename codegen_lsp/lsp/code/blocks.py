"""The block at a cursor: what opened it, how deep it belongs, and whether the document closes it.

The head of a block is the whole statement that opens it, which may take several lines:

    int f(int a,
          int b) {‸        the head starts at `int f`, 0 columns; the block is expected one level deeper
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.lexed_cursor import LexedCursor
from codegen_lsp.lsp.code.lexer import Frame, tokens


@dataclass(frozen=True, slots=True)
class Head:
    """The statement that opens a block."""

    text: str
    start: int
    """Where it starts in the site's region."""
    width: int
    """Columns that its first line is indented by."""
    depth: int
    """How many brackets are open before it."""


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block is to be written."""

    base: int
    """Columns of the cursor's line."""
    floor: int
    """Minimum indentation of the block's lines, in columns."""
    opened: bool
    """Whether a statement above, or the cursor's own, opened the block."""
    expected: int
    """Columns that the block's first line should have."""
    opener: int
    """Columns of the head, else `base`."""
    last: int = 0
    """Columns of the head's last line, which opens the block."""
    bracket: Frame | None = None
    """The bracket right after which the block starts."""
    head: Head | None = None
    closed: bool = False
    """Whether the document closes the block after the cursor."""

    @property
    def word(self) -> str:
        """The first word of the head."""
        text = self.head.text.lstrip(" \t}") if self.head is not None else ""
        return next((text[:n] for n, c in enumerate(text) if not (c.isalnum() or c == "_")), text)

    @property
    def last_word(self) -> str:
        """The word right before the bracket: `try` of `val x = try {`."""
        match = _LAST_WORD.search(self.head.text) if self.head is not None else None
        return match.group(1) if match is not None else ""


_ENDS = (";", "{", "}", ":", ",", "(", "[", "->", "=>", "|", " in")
"""Endings of a line that is not continued on the next line, however deep that line is."""
_ENDS_BEFORE_BRACE = (";", "{", "}", ":", ",", "(", "[")
"""Endings of a line that a lone brace on the next line does not belong to."""
_GOES_ON = (",", "&&", "||")
"""Endings of a line that is continued on the next line, at the same depth too."""
_LAST = 400
"""Tokens before the cursor among which the start of its line, or of the line above, is looked for."""
_CLAUSES = ("extends", "implements", "where", "with", "throws", "permits", "requires", "__attribute__")
"""Words that start a clause of a head, as deep as the clause above."""
_IN_WORD = re.compile(r"\w")
_LAST_WORD = re.compile(r"(?<!\w)(\w{1,20})\s{0,20}\{\s*\Z")
_FLAT = ("namespace", "inline namespace", "extern", "package", "module")
"""Words of heads whose blocks often aren't indented."""
_LABEL = re.compile(r"[\s}]*(?:[\w.\"'$-]+|(?:public|private|protected)\s+\w+|case\b.*)\s*:")
"""A line that ends with the colon of a label or key, below which something starts."""
_LONGEST_HEAD = 60
"""Lines of the longest head that is looked for."""


def block_at(place: LexedCursor) -> Block:
    """Return the block at the cursor, as the text around it shows it."""
    bracket = _opening_bracket(place)
    if bracket is not None:
        depth = len(place.code_frames) - 1
        head = _head(place, bracket.start, depth)
        last = place.width(place.line_of(bracket.start))
        return _opened(place, head, last, _closes(place, depth, head.width), bracket)
    line = place.previous_line if place.is_blank else place.before
    outer = place.width(place.first_line_of_string(line) if place.is_blank else line)
    head_or_none = _opening_head(place, line)
    if head_or_none is not None:
        head = head_or_none
        closed = _is_label_closed(place) if place.language.braces else _closed_by_words(place, head.width)
        return _opened(place, head, place.width(line), closed)
    if lines.closes_docstring(line) and 0 < outer >= place.base:
        return Block(place.base, outer, True, outer, max(0, outer - place.unit))
    return Block(place.base, place.base, False, max(outer, place.base), place.base)


def _opened(place: LexedCursor, head: Head, last: int, closed: bool, bracket: Frame | None = None) -> Block:
    """Return the block that a head opens."""
    return Block(
        place.base,
        place.base if place.is_blank and place.language.braces else head.width + 1,
        True,
        head.width + place.unit,
        head.width,
        last=last,
        bracket=bracket,
        head=head,
        closed=closed,
    )


def _opening_bracket(place: LexedCursor) -> Frame | None:
    """Return the bracket that was opened last, if only white space and its line's comment come after it."""
    frame = place.code_frames[-1] if place.code_frames else None
    if frame is None or frame.kind != "bracket":
        return None
    if not place.region[frame.start + 1 :].strip():
        return frame
    after = next((t for t in place.tokens if t.start > frame.start), None)
    if after is None or after.kind != "comment":
        return None
    return (
        frame
        if not (place.region[frame.start + 1 : after.start] + place.region[after.end :]).strip()
        else None
    )


def _opening_head(place: LexedCursor, line: str) -> Head | None:
    """Return the statement that ends on a line and opens a block without a bracket."""
    frames = place.code_frames
    if not line.strip() or (frames and frames[-1].kind != "bracket"):
        return None
    region = place.region.rstrip() if place.is_blank else place.region
    end = len(region) - 1
    name = place.cursor.language
    start = end - len(line.rstrip()) + 1
    is_within = any(
        t.kind == "newline" and t.end == start and t.depth > len(frames) for t in place.tokens[-_LAST:]
    )
    is_head = not is_within and not line.lstrip().startswith(tuple(lines.CLOSERS))
    if is_head and lines.opens_block(line, name, brackets=False):
        return Head(line, start, place.width(line), len(frames))
    if place.language.blocks not in ("indentation", "keywords"):
        return None
    head = _head(place, end, len(frames))
    if "\n" not in head.text:
        return None
    code = _code(place, head).replace("\n", " ")
    return head if lines.opens_block(code, name, brackets=False) else None


def _code(place: LexedCursor, head: Head) -> str:
    """Return the text of a head without its comments and what its strings hold."""
    pieces, position = [], head.start
    for token in place.tokens:
        if token.start >= head.start and token.kind in ("comment", "string"):
            pieces.append(place.region[position : token.start])
            position = token.end
    return "".join([*pieces, place.region[position : head.start + len(head.text)]])


def _head(place: LexedCursor, offset: int, depth: int) -> Head:
    """Return the statement that an offset is in, from the first of its lines to the offset.

    A line goes on with the one above it where the line break is within brackets, and in languages with braces or
    closing words also where it is deeper though nothing opened a block, or holds nothing but a brace, or where the
    one above ends with a comma or an operator.
    """
    region = place.region
    start, before = 0, 0
    bounds = [t for t in place.tokens if t.kind == "newline" and t.start < offset and t.depth <= depth]
    joins = place.language.blocks in ("braces", "keywords")
    for index in range(len(bounds) - 1, max(-1, len(bounds) - _LONGEST_HEAD), -1):
        start, before = bounds[index].end, bounds[index].depth
        above = region[bounds[index - 1].end if index else 0 : bounds[index].start]
        content = above.rstrip()
        if not joins or before < depth or not content:
            break
        if _ends_apart(content.rpartition("\n")[2], place):
            break
        outer, inner = place.width(above), place.width(region[start:])
        deeper = outer < inner and (not content.endswith(_ENDS) or _is_head_to_colon(content, place))
        alone = region[start : offset + 1].strip() == "{" and not content.endswith(_ENDS_BEFORE_BRACE)
        goes_on = content.endswith(_GOES_ON) or (not deeper and _is_clause(content, region[start:], place))
        if not (deeper or alone or (outer <= inner and goes_on)):
            break
    else:
        start, before = (0, 0) if len(bounds) < _LONGEST_HEAD else (start, before)
    text = region[start : offset + 1]
    widths = [place.width(text)]
    widths += [place.width(region[bound.end :]) for bound in bounds if start < bound.end <= offset]
    return Head(text, start, min(widths), before)


def _is_clause(content: str, line: str, place: LexedCursor) -> bool:
    """Return whether a line goes on with the clauses of a head, one a line: `extends Base␤implements Closeable {`."""
    above = content.rpartition("\n")[2]
    is_open = place.language.braces and not content.endswith(_ENDS)
    return is_open and (starts_with_word(line, _CLAUSES) or starts_with_word(above, _CLAUSES))


def _is_head_to_colon(content: str, place: LexedCursor) -> bool:
    """Return whether a text's last line is a head that goes on after its colon: `class Reader(path) :`."""
    line = content.rpartition("\n")[2]
    return place.language.braces and line.endswith(":") and not _LABEL.fullmatch(line)


def _ends_apart(line: str, place: LexedCursor) -> bool:
    """Return whether the line below a line surely starts anew: below a comment, a directive, an opener of a block."""
    is_directive = place.language.preprocessor and line.lstrip().startswith("#")
    opens = lines.opens_block(line, place.cursor.language, brackets=False)
    return is_directive or opens or place.language.is_comment(line)


def _closes(place: LexedCursor, index: int, width: int) -> bool:
    """Return whether the text below closes the frame with an index, whose head is `width` columns deep.

    A closer that starts a line at another depth than the head's closes something further out.
    """
    offset = next((position for frame, position in place.closings if frame == index), None)
    if offset is None:
        return False
    start = place.suffix.rfind("\n", 0, offset) + 1
    if not start:
        return True
    if place.suffix[start:offset].strip(" \t)]}"):
        return place.width(place.next_line) > width
    if place.width(place.suffix[start:]) != width:
        return place.is_whole and len(place.closings) == len(place.frames)
    if not place.is_whole:
        return not _is_left_before(place, index, offset, width)
    outer = range(len(place.frames) - len(place.closings))
    if any(_is_as_deep(place, depth, width) for depth in outer):
        return False
    starting = sum(_starts_line(place, position, width) for _, position in place.closings)
    return _levels_at(place, index, width) <= starting


def _is_left_before(place: LexedCursor, index: int, offset: int, width: int) -> bool:
    """Return whether code as shallow as a head follows before `offset`, where a bracket closes.

    It then closes a `namespace` around the head, whose own closer is missing: text that isn't all read may close
    less than was opened.
    """
    is_outermost = index == 0 and len(place.region) == len(place.cursor.prefix)
    if is_outermost or any(frame == index - 1 for frame, _ in place.closings):
        return False
    head = _head(place, place.frames[index].start, index).text
    if starts_with_word(head, _FLAT):
        return False
    stack = list(place.frames)
    for token in tokens(place.suffix[:offset], place.cursor.language, stack):
        if token.kind == "newline" and len(stack) == index + 1:
            line = place.suffix[token.end :].partition("\n")[0]
            is_code = line[:1].isalpha() if not width else line.strip() and line.strip()[0].isalpha()
            if is_code and place.width(line) <= width and not lines.is_label(line, place.cursor.language):
                return True
    return False


def _starts_line(place: LexedCursor, position: int, width: int) -> bool:
    """Return whether a closer of the text below starts a line, `width` columns deep."""
    start = place.suffix.rfind("\n", 0, position) + 1
    return not place.suffix[start:position].strip(" \t)]}") and place.width(place.suffix[start:]) == width


def _levels_at(place: LexedCursor, index: int, width: int) -> int:
    """Return how many lines opened the frame with an index and those right around it that are as deep.

    There are two for the brace of `case 1: {` where `case` is as deep as its `switch`.
    """
    starts = {place.region.rfind("\n", 0, place.frames[index].start)}
    for depth in range(index - 1, -1, -1):
        if not _is_as_deep(place, depth, width):
            break
        starts.add(place.region.rfind("\n", 0, place.frames[depth].start))
    return len(starts)


def _is_as_deep(place: LexedCursor, index: int, width: int) -> bool:
    """Return whether the line that opened a frame and the head of its block are `width` columns deep."""
    start = place.frames[index].start
    return place.width(place.line_of(start)) == width and _head(place, start, index).width == width


def _is_label_closed(place: LexedCursor) -> bool:
    """Return whether the document closes the braces around a label."""
    depth = len(place.code_frames) - 1
    frame = place.code_frames[-1] if place.code_frames else None
    if frame is None or frame.kind != "bracket":
        return False
    return _closes(place, depth, _head(place, frame.start, depth).width)


def _closed_by_words(place: LexedCursor, width: int) -> bool:
    """Return whether the next line below that isn't deeper than the head closes or continues its block."""
    line = next((ln for ln in place.below if ln.strip() and place.width(ln) <= width), "")
    words = (*place.language.closers, *place.language.clauses)
    return place.width(line) == width and starts_with_word(line, words)


def starts_with_word(line: str, words: tuple[str, ...]) -> bool:
    """Return whether a line starts with one of the words, not as a part of a longer word."""
    text = line.lstrip()
    return any(
        text.startswith(word) and not (word[-1:].isalnum() and _IN_WORD.match(text, len(word)))
        for word in words
    )
