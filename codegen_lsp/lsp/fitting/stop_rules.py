"""Find the end of a continuation: that of the line, or of the block at the cursor.

An end in a text is the end in every longer text too, so that the reader of a stream can stop early.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.blocks import Block, starts_with_word
from codegen_lsp.lsp.code.cursor import Shape
from codegen_lsp.lsp.code.lexed_cursor import open_brackets
from codegen_lsp.lsp.code.lexer import Frame, tokens
from codegen_lsp.lsp.code.site import Site

_DEFINES = re.compile(r"(?:async def|def|class)\b")
_CLOSERS = re.compile(r"[ \t)\]};,]*")
_QUOTES = ("'", '"', "`")
_WORD = re.compile(r"\s*(\w*)")


def end(text: str, site: Site, shape: Shape, *, body: bool = False) -> int | None:
    """Return the end of the useful part of a continuation; None if it may go on past the text."""
    if shape == "line":
        start = 0 if site.before else len(text) - len(text.lstrip("\n"))
        return _line_end(text, start)  # at a line's start, blank lines may come first
    block = site.block
    if not site.is_blank and _closes_on_its_line(text, site):
        return _line_end(text, 0)
    if block.bracket is not None:
        return _bracket_end(text, site, block)
    if block.opened and not site.language.braces:
        return _dedent_end(text, site, block)
    return _paragraph_end(text, site, block, body)


def _closes_on_its_line(text: str, site: Site) -> bool:
    """Return whether a text goes on with the cursor's line and closes a bracket there that the document leaves open.

    function f({‸        →  `a, b}) {`, the rest of its line
    """
    level = len(site.code_frames)
    frames = list(site.frames)
    for token in tokens(text, site.cursor.language, frames):
        if token.kind == "newline":
            return False
        if token.kind == "close" and len(frames) < level:
            closed = site.block.bracket is site.frames[len(frames)] and not site.block.closed
            return closed or all(len(frames) != index for index, _ in site.closings)
    return False


# Blocks inside brackets ------------------------------------------------------------------------------------


def _bracket_end(text: str, site: Site, block: Block) -> int | None:
    """Return the end of a block that a bracket opened.

    That is before the closing bracket where the document has one, else after it and what has to follow:

        foo(function () {‸        →  `…});`
        try {‸                    →  `…} catch (e) {…}`
    """
    frames = list(site.frames)
    level = len(site.code_frames) - 1
    for token in tokens(text, site.cursor.language, frames):
        if token.kind == "close" and len(frames) <= level:
            return _after_closer(text, token.start, site, block, frames)
        if token.kind == "newline" and _is_outside(text, token.end, site, block):
            return len(text[: token.start].rstrip())
    return None


def _is_outside(text: str, start: int, site: Site, block: Block) -> bool:
    """Return whether a line is less deep than the head of its block, which then ended without its closer."""
    line = text[start : text.find("\n", start) if "\n" in text[start:] else None]
    content = line.strip()
    is_text = content.lstrip("@$rRbBuUfF")[:1] in _QUOTES
    if not content or content[0] in "#)]}<" or is_text or site.width(line) >= block.opener:
        return False
    return not starts_with_word(content, ("EOF", "EOT", "END"))


def _after_closer(text: str, closer: int, site: Site, block: Block, frames: list[Frame]) -> int | None:
    """Return where a block ends whose closing bracket is at `closer`."""
    after = site.after.strip()
    if after[:1] == text[closer]:  # closed by the editor, on this line: left to `overlap`
        same = 0
        while text[closer + same : closer + same + 1] == after[same : same + 1] != "":
            same += 1
        return closer + same
    if block.closed:
        return len(text[:closer].rstrip())
    return _statement_end(text, closer + 1, site, block, frames)


def _statement_end(text: str, start: int, site: Site, block: Block, frames: list[Frame]) -> int | None:
    """Return the end of the statement whose block was closed just before `start`.

    It goes on until all brackets are closed that its head opened, and to the end of that line if the line opens
    nothing more; of a head that needs a clause (`try`), until the clauses are over. What closes a bracket that the
    document closes itself is left out.
    """
    goal = block.head.depth if block.head is not None else len(frames)
    least = _least_depth(site, goal)
    words = {block.word, block.last_word}
    clauses = site.language.clauses if words.intersection(site.language.needs_clause) else ()
    lowest, stop = len(frames), start
    for token in tokens(text[start:], site.cursor.language, frames):
        position = start + token.start
        if token.kind == "close" and (token.depth < 0 or len(frames) < least):
            return len(text[:position].rstrip())
        ends_string = token.kind == "string" and len(frames) < lowest
        if ends_string or (token.kind == "close" and len(frames) <= lowest):
            lowest, stop = len(frames), start + token.end
        if token.kind != "newline" or (len(frames) > lowest and clauses):
            continue
        if len(frames) > lowest:
            is_block = block.bracket is not None and block.bracket.text == "{"
            return _with_separators(text, stop) if is_block else len(text[:position].rstrip())
        following = _WORD.match(text, position)
        if (clauses or lowest > goal) and following is not None and following.end() == len(text):
            return None  # what comes next isn't written yet
        if not _continues(text, position, site, block, clauses, lowest > goal):
            return len(text[:position].rstrip())
    return None


def _continues(
    text: str, position: int, site: Site, block: Block, clauses: tuple[str, ...], is_open: bool
) -> bool:
    """Return whether the statement of a block goes on past a line's end."""
    line = text[position:].lstrip("\n").partition("\n")[0]
    if starts_with_word(line, clauses):
        return True
    return is_open and (site.width(line) > block.opener or line.lstrip()[:1] in lines.CLOSERS)


def _least_depth(site: Site, goal: int) -> int:
    """Return how many brackets stay open after a statement: those that the document closes itself."""
    if not site.is_whole:
        outer_frames = site.frames[:goal]
        closed = {index for index, _ in site.closings}
        return max((n + 1 for n, f in enumerate(outer_frames) if f.text == "{" or n in closed), default=0)
    closers = [site.suffix[offset] for _, offset in reversed(site.closings)]
    outer = [frame.closer for frame in site.frames[: len(site.code_frames) - 1]]
    pairs = zip(closers, outer, strict=False)
    return next(
        (n for n, (closer, expected) in enumerate(pairs) if closer != expected), min(len(closers), len(outer))
    )


def _with_separators(text: str, stop: int) -> int:
    """Return the end of the closing brackets, commas and semicolons that follow a bracket."""
    match = _CLOSERS.match(text, stop)
    return stop + len(match.group().rstrip()) if match is not None else stop


# Blocks that end with a dedent or a word -------------------------------------------------------------------


def _dedent_end(text: str, site: Site, block: Block) -> int | None:
    """Return the end of a block before the code leaves it, closing words and needed clauses included."""
    closers = () if block.closed else site.language.closers
    clauses: tuple[str, ...] = ()
    if not block.closed and (closers or block.word in site.language.needs_clause):
        clauses = site.language.clauses
    for line in _read(text, site.cursor.language, site.frames):
        if line.previous and site.width(line.text) < block.floor:
            at_head = site.width(line.text) == block.opener
            if at_head and line.end is None and _may_become(line.text, (*closers, *clauses)):
                return None
            if at_head and closers and starts_with_word(line.text, closers):
                return line.end
            if not (at_head and clauses and starts_with_word(line.text, clauses)):
                return line.previous
        if line.unbalanced is not None:
            return len(text[: line.unbalanced].rstrip())
    return None


def _may_become(line: str, words: tuple[str, ...]) -> bool:
    """Return whether a line that is still being written may start with one of the words."""
    return any(word.startswith(line.strip()) for word in words)


def _paragraph_end(text: str, site: Site, block: Block, body: bool) -> int | None:
    """Return the end of a block that a label or nothing opened: before the next paragraph, label or dedent."""
    definitions = 0
    for line in _read(text, site.cursor.language, site.frames):
        defines = _DEFINES.match(line.text.lstrip()) is not None
        if line.previous:
            width = site.width(line.text)
            if block.opened:
                over = width <= block.opener and lines.is_label(line.text, site.cursor.language)
            elif width < block.floor and not site.language.braces:
                over = True
            else:
                over = width <= block.base and _starts_another(
                    text, line, site, body, bool(definitions and defines)
                )
            if over:
                return line.previous
        definitions += defines
        if line.unbalanced is not None:
            if not block.closed and not text[: line.unbalanced].strip():
                return _line_end(text, line.unbalanced)  # only closers belong here
            return _before_closer(text, line.unbalanced, site)
    return None


def _line_end(text: str, start: int) -> int | None:
    stop = text.find("\n", start)
    return stop if stop >= 0 else None


def _before_closer(text: str, closer: int, site: Site) -> int:
    """Return the end of a text before a bracket that closes one of the document's."""
    after = site.after.strip()
    if not after.startswith(text[closer]):
        return len(text[:closer].rstrip())
    same = 0
    while text[closer + same : closer + same + 1] == after[same : same + 1] != "":
        same += 1
    return closer + same


def _starts_another(text: str, line: _Line, site: Site, body: bool, another: bool) -> bool:
    """Return whether something new starts at a line that is indented like the block's first."""
    closed = site.language.braces and site.block.base == 0 and text[: line.previous].endswith("}")
    if closed and not _goes_on(line.text.lstrip(), site):
        return True
    if not body:
        return line.gap > 0
    comment = line.text.lstrip().startswith(("#", "//"))
    return (line.gap > 0 and comment) or (another and not site.language.braces)


def _goes_on(following: str, site: Site) -> bool:
    """Return whether a line continues the statement whose brace was closed above it, as far as it is written."""
    match = _WORD.match(following)
    word = match.group(1) if match is not None else ""
    if not word:
        return following[:1] in (")", "]", "}", ";", ",", "")
    return any(clause.startswith(word) for clause in site.language.clauses)


# Lines of a continuation -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Line:
    """A line with something on it that starts outside of the text's own brackets and strings."""

    text: str
    previous: int
    """Where the text before it ends, without trailing whitespace."""
    gap: int
    """Blank lines before it."""
    end: int | None
    """Where it ends; None where the text ends with it."""
    unbalanced: int | None = None
    """Where the first bracket is that closes one of the document's; the text isn't read past it."""


def _read(text: str, name: str, open_before: Sequence[Frame] = ()) -> Iterator[_Line]:
    """Yield the lines of a text that starts within the frames `open_before`, one at a time."""
    frames = list(open_before)
    level, starts, unbalanced = len(frames), [0], None
    for token in tokens(text, name, frames):
        if token.kind == "close" and len(frames) < level:
            unbalanced = token.start
            break
        if token.kind == "newline" and len(frames) <= level:
            starts.append(token.end)
            level = min(level, len(frames))  # a string or comment ended
        elif len(frames) < level:
            level = len(frames)
    previous = gap = 0
    for start, stop in zip(starts, [*starts[1:], len(text)], strict=True):
        content = text[start:stop].rstrip()
        if content and (unbalanced is None or start <= unbalanced):
            last = unbalanced is not None and unbalanced < stop
            ended = start + len(content) if text[stop - 1 : stop] == "\n" else None
            yield _Line(content, previous, gap, ended, unbalanced if last else None)
            previous, gap = start + len(content), 0
        else:
            gap += 1


# Python ----------------------------------------------------------------------------------------------------


def complete_part(text: str, site: Site) -> str:
    """Return a Python text without what it breaks off in: a statement whose brackets are open, and heads of blocks.

    Its first statement stays in any case.
    """
    if site.cursor.language != "python":
        return text
    if open_brackets(text, "python"):
        text = _without_last(text) or text
    while _opens(text) and (before := _without_last(text)):
        text = before
    return text


def _without_last(text: str) -> str:
    """Return a text without its last line that starts outside of brackets and strings."""
    *_, last = _read(text, "python")
    return text[: last.previous]


def _opens(text: str) -> bool:
    """Return whether the last line of a text opens a block."""
    *_, last = _read(text, "python")
    return lines.opens_block(last.text.replace("\n", " "), "python")


def unopened(text: str, site: Site) -> int | None:
    """Return where a Python text closes a bracket that isn't the innermost open one, if anywhere."""
    if site.cursor.language != "python" or not any(closer in text for closer in lines.CLOSERS):
        return None
    read = tokens(text, "python", list(site.frames))
    return next((token.start for token in read if token.kind == "close" and token.depth < 0), None)


def misplaced(text: str, site: Site) -> int | None:
    """Return where a Python text ends before the first line whose indentation no line above it explains.

    That is a line deeper than one that opens nothing, or not deeper than one that opens a block:

        y = 1
            z = 2        cut here, after `y = 1`
    """
    if site.cursor.language != "python" or site.in_brackets:
        return None
    levels: list[int] = []
    above = ""
    for line in _read(site.before + text, "python"):
        if levels and site.language.is_comment(line.text):
            continue
        width = site.width(line.text)
        opened = lines.opens_block(above.replace("\n", " "), "python")
        if levels and not above.endswith("\\"):
            explained = width > levels[-1] if opened else width <= levels[-1]
            while levels and width < levels[-1]:
                levels.pop()
            if not explained or (levels and not opened and width != levels[-1]):
                return line.previous - len(site.before)
        if not levels or width > levels[-1]:
            levels.append(width)
        above = line.text
    return None
