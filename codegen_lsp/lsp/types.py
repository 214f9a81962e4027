"""The plain values that travel between the language server's pure functions.

    Cursor ▶ Prompt ▶ (wire request) ▶ Candidate ▶ Verdict ▶ Ranked

Knows no LSP types and no wire types. All offsets are Python string indexes (code points); only `cursor.py` and
`edits.py` speak of LSP columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Shape = Literal["line", "block"]
"""What the place asks for: the rest of one line, or a block of several."""


class Reason(StrEnum):
    """Why an answer, or one candidate, came to nothing. The value is what users and editors see."""

    LOADING = "loading"
    STARTING = "starting"
    UNAVAILABLE = "engine-unavailable"
    ENGINE_ERROR = "engine-error"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    DISABLED = "language-disabled"
    TOO_LARGE = "document-too-large"
    NO_CONTEXT = "nothing-to-go-on"
    INSIDE_WORD = "inside-word"
    EMPTY = "empty"
    REPETITION = "repetition"
    OPEN_STRING = "open-string"
    REPEATS_SUFFIX = "repeats-suffix"
    REPEATS_PREFIX = "repeats-prefix"
    LOW_CONFIDENCE = "low-confidence"
    DUPLICATE = "duplicate"
    MISMATCH = "mismatches-selection"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Selected:
    """The entry that is selected in the editor's completion menu (`selectedCompletionInfo`)."""

    text: str
    """What the menu would insert."""
    replaced: str
    """What the document holds in its place now; one line."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A snapshot of a document around the cursor. `prefix + suffix` is the whole text.

    With `selected` it is the document as it will be once the menu's entry is taken: the prefix ends with
    `selected.text`, so that whatever continues it extends the entry.
    """

    uri: str
    language: str
    """The LSP language id: `python`, `javascript`, ..."""
    version: int | None
    line: int
    """0-based line of the cursor."""
    prefix: str
    suffix: str
    newline: str = "\n"
    """The line ending that the document uses most."""
    indent: str = "    "
    """One level of indentation as the document writes it: `\\t` or a number of spaces."""
    selected: Selected | None = None

    @property
    def line_prefix(self) -> str:
        """The text of the cursor's line before the cursor."""
        start = self.prefix.rfind("\n") + 1
        return self.prefix[max(start, self.prefix.rfind("\r", start) + 1) :]

    @property
    def line_suffix(self) -> str:
        """The text of the cursor's line after the cursor, without its line ending."""
        end = self.suffix.find("\n")
        line = self.suffix[:end] if end >= 0 else self.suffix
        end = line.find("\r")
        return line[:end] if end >= 0 else line

    @property
    def offset(self) -> int:
        """Where the cursor is, in characters."""
        return len(self.prefix)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent to the model, and how its answer is to be read."""

    text: str
    """`header + window`: what the engine continues. Line endings are `\\n` whatever the document has, and Python is
    indented by spaces."""
    header: str
    window: str
    shape: Shape
    stop: tuple[str, ...]
    max_tokens: int
    heal: bool = True
    tokens: int = 0
    """Tokens of `text`, counted or estimated."""
    body: bool = False
    """Whether a whole body is asked for (*Write the body*), not what fits while typing."""
    start: str = ""
    """What the code below the cursor says that the continuation starts with (`hints.py`). The engine continues
    `text + start`; every candidate starts with it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One continuation as it goes through filters and ranking."""

    text: str
    """What would be inserted at the cursor, line endings `\\n`."""
    mean_logprob: float | None = None
    """Mean log-probability (natural) of the tokens of `raw`; None where the server gave none."""
    finish: str | None = None
    """`stop`, `length`, or None where the stream was left early."""
    raw: str = ""
    """What the model wrote, before any filter."""
    tokens: tuple[str, ...] = ()
    token_logprobs: tuple[float, ...] = ()
    suffix_logprob: float | None = None
    """Mean log-probability of the text after the cursor once this candidate is in place; None where unmeasured."""
    replace: int = 0
    """Characters after the cursor that the candidate takes the place of (auto-closed brackets, a line's rest)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one candidate: the trail of the filters, for the user to read."""

    candidate: Candidate
    reason: Reason | None = None
    """Why it was dropped; None where it was kept."""
    trail: tuple[str, ...] = ()
    """A sentence for each filter that changed or dropped it: `close-brackets: took back ")"`."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate that is shown, with its score (higher is better)."""

    candidate: Candidate
    score: float
    parts: tuple[tuple[str, float], ...] = field(default=())
    """What the score is the sum of, by name: `mean_logprob`, `tokens`, `suffix_gain`, `parse`, `fit`, `length`."""
