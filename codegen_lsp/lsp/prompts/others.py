"""Show the model what other files say: pieces of them above the current file's text, within their share of the budget.

A piece has several texts, the richest first. Each gets its leanest text in the order of the pieces, or its listing if
that doesn't fit, then richer ones as far as there is room, so that the text depends on the pieces and the budget alone,
never on what is typed. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from codegen_lsp.lsp.code.languages import language as table
from codegen_lsp.lsp.names.known import ForeignNames
from codegen_lsp.lsp.prompts.token_counter import TokenCounter
from codegen_lsp.wire.fill.formats import FileText

PieceSource = Literal["import", "package", "similar"]
"""Why a file is looked at: the current file imports it, is in its package, or has code like that at the cursor."""


@dataclass(frozen=True, slots=True)
class FilePiece:
    """Something of another file that the model may be shown."""

    path: str
    """The file's path below its workspace folder."""
    texts: tuple[str, ...]
    """What can be shown, the richest first; the first line end of each is its only difference to the file's text."""
    source: PieceSource
    why: str
    """A sentence for the user: `Client is used near the cursor`."""
    listing: str = ""
    """Shown where none of its texts fits: the names of a long class's members."""

    @property
    def choices(self) -> tuple[str, ...]:
        """All that can be shown, the richest first."""
        return (*self.texts, self.listing) if self.listing else self.texts


@dataclass(frozen=True, slots=True)
class OtherFiles:
    """What other files say about a document."""

    pieces: tuple[FilePiece, ...] = ()
    """The most useful first."""
    names: ForeignNames = field(default_factory=ForeignNames)
    path: str = ""
    """The document's own path below its workspace folder."""


@dataclass(frozen=True, slots=True)
class ShownPiece:
    """A piece as it is in a prompt."""

    piece: FilePiece
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Shown:
    """The part of a prompt above the current file's text."""

    text: str = ""
    pieces: tuple[ShownPiece, ...] = ()
    tokens: int = 0
    files: tuple[FileText, ...] = ()
    """The same as files, if the model's family has separators for them; then `text` is empty."""
    path: str = ""
    """With `files`: the path of the current file."""
    budget: int = 0
    """Number of tokens for which it was chosen."""


NOTHING = Shown()
NO_FILES = OtherFiles()
_STEPS = 8
"""Number of steps in which the current file takes the room of other files."""
_MARGIN = 4
"""The part of a step (1/4) that stays free for typing when other files are given their room."""
_MISSES = 16
"""Number of pieces that don't fit after which no more are tried."""


@dataclass(frozen=True, slots=True)
class Spare:
    """What the current file leaves of a prompt, in tokens."""

    room: int
    """For other files and the current file together."""
    needed: int
    """What the current file takes."""
    share: int
    """Maximum for other files."""
    given: int | None = None
    """What they were given in the document's last prompt; None if they were others."""

    def fits(self, tokens: int) -> bool:
        """Return whether there is room for this number of tokens of other files."""
        return self.needed + tokens <= self.room

    @property
    def allowance(self) -> int:
        """What other files are given anew: the current file's tokens are counted in coarse steps."""
        step = max(1, self.room // _STEPS)
        return min(self.share, self.room - -(-(self.needed + step // _MARGIN) // step) * step)


def show_beside(
    others: OtherFiles, spare: Spare, language: str, count: TokenCounter, separator: int | None = None
) -> Shown:
    """Return what is shown of other files beside the current one, as `show` does.

    What they were given they keep as long as it fits, so that the prompt's start changes neither while the file grows
    nor where the user goes to another place of it.
    """
    if spare.given is not None:
        kept = show(others, min(spare.given, spare.share), language, count, separator)
        if spare.fits(kept.tokens):
            return kept
    return show(others, spare.allowance, language, count, separator)


@lru_cache(maxsize=16)
def show(
    others: OtherFiles, budget: int, language: str, count: TokenCounter, separator: int | None = None
) -> Shown:
    """Return what is shown of other files in at most `budget` tokens; nothing if no piece fits.

    `separator` is the number of tokens that the model's own separator takes for each file; without one, a comment with
    the path is above each file's text.
    """
    if not others.pieces:
        return NOTHING
    heading = _Headings(language, count, separator)
    left = budget - heading.cost(others.path) - 2
    chosen: dict[int, int] = {}
    paths: set[str] = set()
    costs = [[count(text + "\n") for text in piece.choices] for piece in others.pieces]
    for index, piece in enumerate(others.pieces):
        if index - len(chosen) > _MISSES:
            break
        head = 0 if piece.path in paths else heading.cost(piece.path)
        for choice in range(len(piece.texts) - 1, len(piece.choices)):
            if costs[index][choice] + head <= left:
                left -= costs[index][choice] + head
                chosen[index] = choice
                paths.add(piece.path)
                break
    for index, choice in chosen.items():
        for richer in range(choice):
            extra = costs[index][richer] - costs[index][choice]
            if extra <= left:
                left -= extra
                chosen[index] = richer
                break
    if not chosen:
        return NOTHING
    pieces = tuple(
        ShownPiece(others.pieces[index], others.pieces[index].choices[choice], costs[index][choice])
        for index, choice in chosen.items()
    )
    files: dict[str, str] = {}
    for each in pieces:
        files[each.piece.path] = files.get(each.piece.path, "") + each.text + "\n"
    if separator is not None:
        tokens = sum(heading.cost(path) + count(text) for path, text in files.items())
        texts = tuple(FileText(path, text) for path, text in files.items())
        return Shown("", pieces, tokens + heading.cost(others.path), texts, others.path, budget)
    text = "\n".join([*(heading.of(path) + text for path, text in files.items()), heading.of(others.path)])
    return Shown(text, pieces, count(text), budget=budget)


class _Headings:
    """How a file's path is written above its text: as a comment of the language."""

    def __init__(self, language: str, count: TokenCounter, separator: int | None) -> None:
        self._separator = separator
        facts = table(language)
        block = facts.block_comments[0] if facts.block_comments else ("", "")
        self._before, self._after = (
            (facts.line_comments[0] + " ", "") if facts.line_comments else (block[0] + " ", " " + block[1])
        )
        self._count = count

    def of(self, path: str) -> str:
        """Return the line above a file's text."""
        return f"{self._before}{path}{self._after}\n"

    def cost(self, path: str) -> int:
        """Return the tokens of that line, and of the empty line before it."""
        if self._separator is not None:
            return self._separator + self._count(path)
        return self._count(self.of(path)) + 1
