"""Makes a continuation's indentation that of the file.

Knows columns and levels: models write four spaces mostly, files have tabs or two. What is converted is the
indentation relative to the line that opened the block; what the document has is left as it is.
"""

from __future__ import annotations

from itertools import pairwise

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.fitting.stop_rules import BlockPlace, place

_LEVELS = (2, 3, 4, 8)


def fit(text: str, cursor: Cursor) -> str:
    """The text with levels as wide as the file's, the first line where it belongs, and tabs where it has tabs."""
    here = place(cursor)
    blank = not cursor.line_prefix.strip()
    own = here.base if blank else 0
    first, *rest = text.split("\n")
    if blank and not first.strip() and any(ln.strip() for ln in rest):  # the block starts a line further down
        first, *rest = "\n".join(rest).lstrip("\n").split("\n")
        own = 0
    widths = [
        own + lines.width(ln, cursor.indent) if i == 0 else lines.width(ln, cursor.indent)
        for i, ln in enumerate([first, *rest])
    ]
    contents = [first.lstrip(" \t") if blank else first, *(ln.lstrip(" \t") for ln in rest)]
    known = [i for i, c in enumerate(contents) if c.strip() and (blank or i > 0)]
    if known:
        moved = _moved([(widths[i], contents[i]) for i in known], cursor, here, blank)
        widths = [moved[known.index(i)] if i in known else w for i, w in enumerate(widths)]
    lead = max(0, widths[0] - here.base) if blank else 0
    out = [_leading(lead, cursor, "") + contents[0]]
    for width, content in zip(widths[1:], contents[1:], strict=True):
        out.append(_leading(width, cursor, cursor.line_prefix) + content if content.strip() else "")
    return "\n".join(out)


def _moved(block: list[tuple[int, str]], cursor: Cursor, here: BlockPlace, blank: bool) -> list[int]:
    """New widths of a block's lines, given as (width, content): the first where it belongs, the rest along."""
    unit = lines.unit(cursor.indent)
    (first, opener), *others = block
    target = _target(first, here, blank)
    if not (blank or here.opened):
        first = target
    step = _step(block, cursor, first - here.opener if here.opened else unit)
    # The model wrote indentation that is there already before its first line only, and knew where the rest goes.
    lone = any(w < first for w, _ in others)
    lone = lone or (bool(others) and others[0][0] == first and lines.opens_block(opener, cursor.language))
    start = target if blank and lone else first
    new = [w if w < start else target + (w - start) // step * unit + (w - start) % step for w, _ in others]
    return [target if blank or here.opened else block[0][0], *new]


def _target(first: int, here: BlockPlace, blank: bool) -> int:
    """Where a block's first line belongs."""
    if not blank:
        return here.expected if here.opened else here.base
    if first <= here.base:
        return here.base
    return max(here.base, here.expected if here.opened else min(first, here.expected))


def _step(block: list[tuple[int, str]], cursor: Cursor, fallback: int) -> int:
    """The columns of a level as the text has them, going by the first block that it opens."""
    steps = (b - a for (a, opener), (b, _) in pairwise(block) if lines.opens_block(opener, cursor.language))
    step = next((s for s in steps if s > 0), fallback)
    return step if step in _LEVELS else lines.unit(cursor.indent)


def _leading(width: int, cursor: Cursor, base: str) -> str:
    """Whitespace of a width, which starts as the cursor's line does and goes on as the file does."""
    own = lines.leading(base)
    known = lines.width(own, cursor.indent)
    if known > width or "\t" not in own + cursor.indent:
        own, known = "", 0
    unit = lines.unit(cursor.indent)
    if "\t" in cursor.indent:
        return own + "\t" * ((width - known) // unit) + " " * ((width - known) % unit)
    return own + " " * (width - known)
