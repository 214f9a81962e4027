"""Makes a continuation's indentation that of the file.

Knows columns and levels: models write four spaces mostly, files have tabs or two. What is converted is the
indentation relative to the line that opened the block; what the document has is left as it is.
"""

from __future__ import annotations

from itertools import pairwise

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.blocks import Block
from codegen_lsp.lsp.code.site import Site

_LEVELS = (2, 3, 4, 8)


def fit(text: str, site: Site) -> str:
    """Return the text with levels as wide as the file's, and its first line where it belongs.

    def f():‸   + `␤    if x:␤        return`   in a file of tabs   →   `␤→if x:␤→→return`
    """
    block, blank = site.block, site.is_blank
    first, *others = text.split("\n")
    start = block.base if blank else 0
    if blank and not first.strip() and any(line.strip() for line in others):  # it starts a line further down
        first, *others = "\n".join(others).lstrip("\n").split("\n")
        start = 0
    widths = [start + site.width(first), *map(site.width, others)]
    contents = [first.lstrip(" \t") if blank else first, *(line.lstrip(" \t") for line in others)]
    filled = [i for i, content in enumerate(contents) if content.strip() and (blank or i > 0)]
    if filled:
        moved = _moved([(widths[i], contents[i]) for i in filled], site, block)
        for index, width in zip(filled, moved, strict=True):
            widths[index] = width
    lead = max(0, widths[0] - block.base) if blank else 0
    out = [_leading(lead, site, "") + contents[0]]
    for width, content in zip(widths[1:], contents[1:], strict=True):
        out.append(_leading(width, site, site.before) + content if content.strip() else "")
    return "\n".join(out)


def _moved(block: list[tuple[int, str]], site: Site, place: Block) -> list[int]:
    """Return new widths of a block's lines, given as (width, content): the first where it belongs, the others along."""
    unit, blank = site.unit, site.is_blank
    (first, opener), *others = block
    target = _target(first, place, blank)
    if not (blank or place.opened):
        first = target
    step = _step(block, site, first - place.opener if place.opened else unit)
    # Where the model wrote indentation that is there already, it did so before its first line only.
    lone = any(width < first for width, _ in others)
    lone = lone or (
        bool(others) and others[0][0] == first and lines.opens_block(opener, site.cursor.language)
    )
    start = target if blank and lone else first
    new = [w if w < start else target + (w - start) // step * unit + (w - start) % step for w, _ in others]
    return [target if blank or place.opened else block[0][0], *new]


def _target(first: int, place: Block, blank: bool) -> int:
    """Return where a block's first line belongs."""
    if not blank:
        return place.expected if place.opened else place.base
    if first <= place.base:
        return place.base
    return max(place.base, place.expected if place.opened else min(first, place.expected))


def _step(block: list[tuple[int, str]], site: Site, fallback: int) -> int:
    """Return the columns of a level as the text has them, going by the first block that it opens."""
    steps = (
        b - a for (a, opener), (b, _) in pairwise(block) if lines.opens_block(opener, site.cursor.language)
    )
    step = next((s for s in steps if s > 0), fallback)
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
