"""Give a continuation the indentation of the file.

Models often write four spaces where the file has tabs or two. Levels of indentation are converted, relative
to the head of the block; the document's own text stays. In languages whose blocks aren't known, in comments, and
if the file has such levels too, the model's indentation is kept.
"""

from __future__ import annotations

import re
from itertools import pairwise

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.blocks import Block
from codegen_lsp.lsp.code.lexer import tokens
from codegen_lsp.lsp.code.site import Site

_LEVELS = (2, 3, 4, 8)
_EVIDENCE = 3
"""Minimum number of steps of indentation from which a file's level is inferred."""
_COLUMNS = re.compile(r"\t+ +(?=\S)")
_NEAR = 20
"""Lines above and below whose white space is that of the file, tabs and spaces mixed."""


def fit(text: str, site: Site) -> str:
    """Return the text with levels as wide as the file's, and its first line where it belongs.

    def f():‸   + `␤    if x:␤        return`   in a file of tabs   →   `␤→if x:␤→→return`
    """
    if site.shows_spaces and _goes_on(site):
        return _with_tabs(text, site)
    has_blocks = site.cursor.language == "python" or site.language.blocks in ("braces", "keywords")
    if not has_blocks or (site.in_comment and not site.block.opened) or _goes_on(site):
        return text
    block, blank = site.block, site.is_blank
    first, *tail = text.split("\n")
    start = block.base if blank else 0
    if blank and not first.strip() and any(line.strip() for line in tail):  # it starts a line further down
        first, *tail = "\n".join(tail).lstrip("\n").split("\n")
        start = 0
    widths = [start + site.width(first), *map(site.width, tail)]
    written = [first, *tail]
    contents = [first.lstrip(" \t") if blank else first, *(line.lstrip(" \t") for line in tail)]
    literal_lines = _as_written("\n".join([first, *tail]), site)
    filled = [
        i
        for i, content in enumerate(contents)
        if content.strip() and (blank or i > 0) and i not in literal_lines
    ]
    moved = list(widths)
    if filled:
        new = _moved([(widths[i], contents[i]) for i in filled], site, block)
        for index, width in zip(filled, new, strict=True):
            moved[index] = width
    knows_tabs = any("\t" in lines.leading(line) for line in tail)
    out = [_first(written[0], contents[0], moved[0] - block.base if blank else 0, site)]
    for index, (line, content, width) in enumerate(zip(written[1:], contents[1:], moved[1:], strict=True), 1):
        if index in literal_lines:
            out.append(line)
        elif not content.strip():
            out.append("")
        elif site.width(line) == width and _is_as_the_file(line, site, knows_tabs):
            out.append(line)
        else:
            out.append(_leading(width, site, site.before) + content)
    return "\n".join(out)


def _goes_on(site: Site) -> bool:
    """Return whether a line of Python or of a macro continues the one above it, so that any depth is right."""
    if not site.is_blank:
        return False
    is_python = site.cursor.language == "python"
    joined = (is_python or site.language.preprocessor) and bool(site.above) and site.above[-1].endswith("\\")
    return joined or (is_python and site.in_brackets and not site.block.opened)


def _with_tabs(text: str, site: Site) -> str:
    """Return continued lines of Python with the white space of the lines near that are as deep, else with tabs."""
    near = (*reversed(site.above[-_NEAR:]), *site.below[:_NEAR])
    whites = {site.width(line): lines.leading(line) for line in reversed(near) if line.strip()}
    base = lines.leading(site.before)
    first, *tail = text.split("\n")
    out = [first] if base or not first.strip() else [_led(first, whites, site)]
    return "\n".join([*out, *(_led(line, whites, site) for line in tail)])


def _led(line: str, whites: dict[int, str], site: Site) -> str:
    width = site.width(line)
    return whites.get(width, _leading(width, site, "")) + line.lstrip(" \t")


def _as_written(text: str, site: Site) -> set[int]:
    """Return the numbers of the lines that stay as they are: those within strings, and columns within brackets.

    A docstring, a string by itself on its lines, is indented with the code around it. Columns are spaces after
    the tabs of a file of tabs.
    """
    numbers: set[int] = set()
    frames = list(site.frames)
    level = len(frames)
    for token in tokens(text, site.cursor.language, frames):
        if token.kind == "newline":
            is_within = len(frames) > level and frames[-1].text in ("(", "[")
            if is_within and _COLUMNS.match(text, token.end) and "\t" in site.cursor.indent:
                numbers.add(text.count("\n", 0, token.end))
        if token.kind != "string" or "\n" not in token.text:
            continue
        before = text[: token.start].rpartition("\n")[2].rstrip("\"'")
        if before.strip():
            first = text.count("\n", 0, token.start)
            numbers.update(range(first + 1, first + 1 + token.text.count("\n")))
    return numbers


def _first(line: str, content: str, lead: int, site: Site) -> str:
    """Return the first line with `lead` columns of white space before its content."""
    if site.width(line) == lead and _is_as_the_file(line, site, knows_tabs=False):
        return line
    return _leading(max(0, lead), site, "") + content


def _is_as_the_file(line: str, site: Site, knows_tabs: bool) -> bool:
    """Return whether a line's white space is of the file's kind: tabs or spaces."""
    white = lines.leading(line)
    if not site.cursor.is_indent_known or white in (
        lines.leading(site.previous_line),
        lines.leading(site.next_line),
    ):
        return True
    if "\t" in white and " " in white:
        near = (*site.above[-_NEAR:], *site.below[:_NEAR])
        return any(lines.leading(above) == white for above in near)
    if "\t" in white:
        return "\t" in site.cursor.indent or "\t" in site.steps
    if "\t" in site.cursor.indent:
        return knows_tabs or len(white) < site.unit or any(step != "\t" for step in site.steps)
    return True


def _moved(block: list[tuple[int, str]], site: Site, place: Block) -> list[int]:
    """Return new widths of a block's lines, given as (width, content): the first at its target, the others with it."""
    unit, blank = site.unit, site.is_blank
    (first, opener), *tail = block
    target = _target(first, site, place)
    is_python = site.cursor.language == "python"
    if target == first and (not is_python or _has_levels_of_the_file(block, site)):
        return [width for width, _ in block]
    if not is_python and site.unit in _steps_of(block, site):
        return [width for width, _ in block]  # written for this file; only the first line is odd
    if not (blank or place.opened):
        first = target
    step = _step(block, site, first - place.opener if place.opened else unit)
    # A model that repeats the indentation before the cursor does so in its first line only.
    lone = any(width < first for width, _ in tail)
    lone = lone or (bool(tail) and tail[0][0] == first and lines.opens_block(opener, site.cursor.language))
    start = target if blank and lone else first
    new = [w if w < start else target + (w - start) // step * unit + (w - start) % step for w, _ in tail]
    return [target if blank or place.opened else block[0][0], *new]


def _has_levels_of_the_file(block: list[tuple[int, str]], site: Site) -> bool:
    """Return whether the first level within a block is one that the file has, or there is none."""
    step = next(iter(_steps_of(block, site)), site.unit)
    return step == site.unit or step in {lines.unit(level) for level in site.steps}


def _target(first: int, site: Site, place: Block) -> int:
    """Return where a block's first line belongs, which the model wrote `first` columns deep."""
    blank = site.is_blank
    if blank and first <= place.base:
        return place.base
    if place.opened and first == site.width(site.next_line) > place.opener:
        return first  # as the rest of the block
    if site.cursor.language == "python":
        if place.opened and not (blank and place.base > place.opener) and _is_level(first, site, place):
            return first
        if not blank:
            return place.expected if place.opened else place.base
        return max(place.base, place.expected if place.opened else min(first, place.expected))
    return max(place.base if blank else 0, place.expected) if _is_foreign(first, site, place) else first


def _is_level(first: int, site: Site, place: Block) -> bool:
    """Return whether a line is deeper than the head of its block by a level that the file has."""
    return first - place.opener in {lines.unit(level) for level in site.steps}


def _is_foreign(first: int, site: Site, place: Block) -> bool:
    """Return whether the first line of a block is indented by a level that the file doesn't have.

    A line that isn't deeper than the head is a label or stands in a `namespace`; one at no level is aligned. Below
    a head over several lines, a block may be one level deeper than the first of them or than the last.
    """
    step = first - place.opener
    if not place.opened or step not in _LEVELS or site.unit in (step, first - place.last):
        return False
    is_custom = site.steps.total() < _EVIDENCE and site.cursor.indent == site.language.indent
    if is_custom or not site.cursor.is_indent_known:
        return False  # neither the file nor the user says what a level is
    if _is_list(place) and 2 * site.unit in (step, first - place.last):
        return False  # rows of a list, two levels deep as continued lines are
    if place.head is not None and place.head.text.lstrip()[:1] in ("?", ":", ".", "|", "&"):
        return False  # within an expression
    is_braces = place.bracket is None or place.bracket.text == "{"
    return is_braces and not _is_level(first, site, place)


def _is_list(place: Block) -> bool:
    """Return whether a block is that of an initializer: `return {`, `int xs[] = {`."""
    head = place.head.text if place.head is not None and place.bracket is not None else ""
    return head.rstrip("{ ").endswith(("=", "return", "(", ",", "]"))


def _steps_of(block: list[tuple[int, str]], site: Site) -> list[int]:
    """Return by how many columns each block that the text opens is deeper than its head."""
    pairs = ((a, b) for (a, head), (b, _) in pairwise(block) if lines.opens_block(head, site.cursor.language))
    return [inner - outer for outer, inner in pairs if inner > outer]


def _step(block: list[tuple[int, str]], site: Site, fallback: int) -> int:
    """Return the columns of a level as the text has them, going by the first block that it opens."""
    step = next(iter(_steps_of(block, site)), fallback)
    return step if step in _LEVELS else site.unit


def _leading(width: int, site: Site, base: str) -> str:
    """Return white space of a width that starts as the line `base` does and goes on as the file does."""
    indent, unit = site.cursor.indent, site.unit
    start = lines.leading(base)
    covered = site.width(start)
    if covered > width or "\t" not in start + indent:
        start, covered = "", 0
    if "\t" in indent:
        return start + "\t" * ((width - covered) // unit) + " " * ((width - covered) % unit)
    return start + " " * (width - covered)
