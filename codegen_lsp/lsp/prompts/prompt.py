"""Build the prompt at a cursor: its shape, other files, header, window and budget. Pure.

A prompt is `above + header + window`, and the window's end is the text just before the cursor. A model that fills in
the middle gets a part of the text after the cursor too. Where the whole prefix fits there is no header, and what other
files say is above it. Line endings are `\\n` whatever the document has, and Python is indented by spaces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from codegen_lsp.lsp.code import hints, lines
from codegen_lsp.lsp.code.blocks import Block
from codegen_lsp.lsp.code.bodies import BodyTarget
from codegen_lsp.lsp.code.cursor import Cursor, Shape
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.code.syntax import supported
from codegen_lsp.lsp.prompts import header, others, window
from codegen_lsp.lsp.prompts import suffix as suffixes
from codegen_lsp.lsp.prompts.others import NO_FILES, NOTHING, OtherFiles, Shown, ShownPiece, Spare
from codegen_lsp.lsp.prompts.token_counter import Count, TokenCounter
from codegen_lsp.wire.fill.formats import LEFT_TO_RIGHT, FileText

_CLOSING = " \t)]}>\"'`;:,"
"""Characters after the cursor with which it still counts as the end of the line: auto-closed pairs, separators."""
_SLACK = 64
"""The part of the budget (1/64) that is kept free, so that a sum over lines needn't be checked against the whole:
byte-pair encodings may have a token more for a line that ends in white space than the line by itself has."""
_PARAGRAPHS = "\n\n\n"


@dataclass(frozen=True, slots=True)
class PromptLimits:
    """How long a prompt and its continuation may be, in tokens."""

    context: int = 2048
    """Prompt and continuation together."""
    line_tokens: int = 48
    """Maximum of a single-line continuation."""
    block_tokens: int = 160
    """Maximum of a block."""
    body_tokens: int = 320
    """Maximum of a whole body (*Write the body*)."""
    header_share: float = 0.25
    """The part of the prompt that the header may take."""
    suffix_tokens: int = 0
    """Maximum of the text after the cursor, below its line; 0 completes left to right."""
    fill_tokens: int = 0
    """What the control tokens of a prompt with a suffix take."""
    order: str = LEFT_TO_RIGHT
    """How the model is asked if there is a suffix."""
    others_share: float = 0.25
    """The part of the prompt that other files may take, if the current file leaves it to them."""
    file_separator: int | None = None
    """Number of tokens that the model's family takes to separate files; None if it has no separators."""


def build(
    site: Site,
    limits: PromptLimits,
    count: Count,
    shape: Shape | None = None,
    other_files: OtherFiles = NO_FILES,
    given: int | None = None,
) -> Prompt:
    """Return the prompt at a site: at most `limits.context` tokens together with its continuation.

    `count` is best a `TokenCounter` that lives as long as the model: it remembers lines. `shape` is decided by the
    site unless it is given. `given` is what the document's last prompt gave to the same other files (`Prompt.given`);
    they keep it as long as it fits, so that the prompt's start stays when the user goes to another place.
    """
    shape = shape or decide_shape(site)
    max_tokens = limits.line_tokens if shape == "line" else limits.block_tokens
    return _build(site, limits, count, shape, max_tokens, other_files, given)


def build_body(
    cursor: Cursor,
    target: BodyTarget,
    limits: PromptLimits,
    count: Count,
    other_files: OtherFiles = NO_FILES,
    given: int | None = None,
) -> Prompt:
    """Return the prompt of *Write the body*: the document up to the body's first line, and all of its comments.

    Filters and ranking of its candidates need the site of `target.cursor(cursor)`.
    """
    site = Site.of(target.cursor(cursor))
    return _build(site, limits, count, "block", limits.body_tokens, other_files, given, body=True)


def decide_shape(site: Site) -> Shape:
    """Return what to complete at a site: the rest of the line, or a block.

    A block where the statement before opens one that has no body yet, below a docstring without code, and on the
    empty line below a comment; a line in all other cases:

        def f():‸                       block
        def f():‸␤    return 1          line: the body is there
        x = ‸                           line
    """
    block = site.block
    if site.open_string or (site.in_comment and not block.opened):
        return "line"
    if not site.is_blank and _is_closed_here(site, block):
        return "block" if _is_braces(site, block) else "line"
    if site.after.strip(_CLOSING):
        return "line"
    if not site.is_blank:
        if not (block.opened or lines.closes_docstring(site.before)):
            return "line"
        return "line" if _has_body(site, block, block.opener) else "block"
    above = list(site.above)
    gap = 0
    while above and not above[-1].strip():
        above.pop()
        gap += 1
    if not above:
        return "line"
    line = above[-1]
    if gap == 0 and site.language.is_comment(line):
        return "line" if _has_code_next(site) else "block"
    documented = lines.closes_docstring(line) and _is_docstring(site, above)
    if block.opened and (documented or not lines.closes_docstring(line)):
        opener = site.width(_opener(above)) if documented else block.opener
        return "line" if _has_body(site, block, opener) else "block"
    if documented or line.lstrip().startswith("@"):
        return "line" if _has_body(site, block, site.width(_opener(above))) else "block"
    return "line"


def _build(
    site: Site,
    limits: PromptLimits,
    count: Count,
    shape: Shape,
    max_tokens: int,
    other_files: OtherFiles,
    given: int | None,
    *,
    body: bool = False,
) -> Prompt:
    site = _shown(site)
    cursor = site.cursor
    counter = count if isinstance(count, TokenCounter) else TokenCounter(count)
    max_tokens = max(1, min(max_tokens, limits.context // 2))
    # The same for both shapes, so that a bracket typed at a line's end doesn't move the window.
    reserved = max(max_tokens, min(limits.block_tokens, limits.context // 2))
    budget = most = max(1, limits.context - reserved)
    after = "" if body else suffixes.choose(site, min(limits.suffix_tokens, budget // 4), counter)
    after_tokens = counter.exact(after) + limits.fill_tokens if after else 0
    budget = max(1, budget - after_tokens)
    room = budget - budget // _SLACK
    share = int((most - most // _SLACK) * min(max(limits.others_share, 0.0), 0.5))
    above = _above(site, limits, other_files, room, share, given, counter)
    head, start, tokens = _fit(site, limits, room - above.tokens, counter)
    tokens += above.tokens
    tail = lines.normalize(cursor.prefix[start:]).removeprefix("\ufeff")
    if tokens + tail.count(" \n") + tail.count("\t\n") > budget:
        tokens = above.tokens + counter.exact(head + tail)
    while tokens > budget and (above.tokens or head or tail):
        if above.tokens:
            above = NOTHING
        else:
            head, tail = "", tail if head else _shorter(tail)
        tokens = counter.exact(head + tail)
    return Prompt(
        text=above.text + head + tail,
        above=above.text,
        pieces=above.pieces,
        given=above.budget,
        files=above.files,
        path=above.path,
        header=head,
        window=tail,
        shape=shape,
        stop=_stop(site, shape),
        max_tokens=max_tokens,
        heal=bool(tail) and not tail.endswith("\n"),
        tokens=tokens + after_tokens,
        body=body,
        start=hints.opening(site) if shape == "line" else "",
        suffix=after,
        order=limits.order if after else LEFT_TO_RIGHT,
    )


def _shown(site: Site) -> Site:
    """Return the site in the document as the prompt shows it to the model."""
    if not site.shows_spaces:
        return site
    before, after = lines.with_spaces(site.cursor.prefix), lines.with_spaces(site.cursor.suffix)
    return Site.of(replace(site.cursor, prefix=before, suffix=after, indent="    "))


def _above(
    site: Site,
    limits: PromptLimits,
    other_files: OtherFiles,
    room: int,
    share: int,
    given: int | None,
    count: TokenCounter,
) -> Shown:
    """Return what is shown of other files: nothing if the current file needs the room."""
    everything = window.whole(site.cursor.prefix, room, count) if other_files.pieces and share > 0 else None
    if everything is None:
        return NOTHING
    spare = Spare(room, everything.tokens, share, given)
    return others.show_beside(other_files, spare, site.cursor.language, count, limits.file_separator)


def _fit(site: Site, limits: PromptLimits, budget: int, count: TokenCounter) -> tuple[str, int, int]:
    """Return (header, the window's start, tokens of both)."""
    cursor = site.cursor
    everything = window.whole(cursor.prefix, budget, count)
    if everything is not None:
        return "", 0, everything.tokens
    share = int(budget * min(max(limits.header_share, 0.0), 0.5)) if supported(cursor.language) else 0
    part = window.cut(cursor.prefix, budget - share, count)
    if cursor.language == "python":
        part = window.after_string(cursor.prefix, part, count)
    specification = window.specification_start(cursor.prefix, cursor.language)
    part = window.extended(cursor.prefix, part, specification, budget, count)
    share = min(share, budget - part.tokens)
    head = header.build(site, part.start, share, count) if share > 0 else ""
    return head, part.start, part.tokens + count(head)


def _stop(site: Site, shape: Shape) -> tuple[str, ...]:
    if shape == "line" and site.before:
        return ("\n",)
    closes = site.block.bracket is not None or (site.block.opened and site.language.blocks == "keywords")
    if shape == "block" and closes:
        return (_PARAGRAPHS + "\n",)  # a bracket or a word shows its end
    return (_PARAGRAPHS,)  # at a line's start the continuation may start with a blank line or two


def _shorter(text: str) -> str:
    cut = len(text) // 8 + 1
    newline = text.find("\n", cut)
    return text[newline + 1 :] if 0 <= newline < len(text) // 2 else text[cut:]


def _is_docstring(site: Site, above: list[str]) -> bool:
    """Return whether the string that ends on the last line stands right below a signature."""
    return site.cursor.language == "python" and _signature(above) is not None


def _signature(above: list[str]) -> str | None:
    """Return the line that opens the block whose docstring ends on the last line."""
    last = above[-1].strip()
    quote = last[-3:]
    index = len(above) - 1
    if last.count(quote) < 2:
        index = next((i for i in range(len(above) - 2, -1, -1) if quote in above[i]), 0)
    candidate = above[index - 1] if index > 0 else ""
    return candidate if lines.opens_block(candidate, "python") else None


def _opener(above: list[str]) -> str:
    return (_signature(above) or above[-1]) if lines.closes_docstring(above[-1]) else above[-1]


def _is_closed_here(site: Site, block: Block) -> bool:
    """Return whether the bracket right before the cursor is closed right after it: `{‸}`."""
    return block.bracket is not None and site.after.lstrip().startswith(block.bracket.closer)


def _is_braces(site: Site, block: Block) -> bool:
    """Return whether a bracket that the editor closed on the same line holds statements: `{‸}`, not `f(‸)`."""
    return site.language.braces and block.bracket is not None and block.bracket.text == "{"


def _has_body(site: Site, block: Block, opener: int) -> bool:
    """Return whether the lines below already are the body of a block whose head is `opener` columns deep."""
    line = site.next_line
    if not line or line.lstrip().startswith(tuple(lines.CLOSERS)):
        return False
    return site.width(line) > opener and (block.bracket is None or block.closed)


def _has_code_next(site: Site) -> bool:
    """Return whether the very next line is code of the same block, which the comment above is about."""
    line = next(iter(site.below), "")
    if not line.strip() or line.lstrip().startswith(tuple(lines.CLOSERS)):
        return False
    return site.width(line) >= site.base


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text that is sent to the model, and how to read the answer."""

    text: str
    """`above + header + window`: what the engine continues. Line endings are `\\n` whatever the document has, and
    Python is indented by spaces."""
    header: str
    window: str
    shape: Shape
    stop: tuple[str, ...]
    max_tokens: int
    heal: bool = True
    tokens: int = 0
    """Tokens of `text` and `suffix`, counted or estimated."""
    body: bool = False
    """Whether the prompt is for a whole body (*Write the body*), not for a suggestion while typing."""
    start: str = ""
    """What the code below the cursor hints that the continuation starts with (`hints.py`). One candidate more is
    asked for that continues `text + start`."""
    words: tuple[str, ...] = ()
    """What the continuation begins with, for a member to stand at the cursor (`receivers.py`); empty if it is free."""
    offers: tuple[str, ...] = ()
    """What one candidate more begins with, an import that nothing uses (`idle_imports.py`); empty to ask for none."""
    suffix: str = ""
    """The text after the cursor that the model reads too; empty left to right."""
    order: str = LEFT_TO_RIGHT
    """How the model is asked: `psm`, `spm` or left to right."""
    above: str = ""
    """What other files say, at the prompt's start."""
    pieces: tuple[ShownPiece, ...] = ()
    """The pieces of other files in `above`, or in `files`."""
    given: int = 0
    """Tokens that other files may have in this document's prompts, until they change or the file needs the room."""
    files: tuple[FileText, ...] = ()
    """What other files say, if the model's family has separators for files; then `above` is empty."""
    path: str = ""
    """With `files`: the current file's path."""
