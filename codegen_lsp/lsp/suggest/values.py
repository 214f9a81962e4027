"""The plain values that the language server's pure functions pass on.

    Cursor ▶ Prompt ▶ (wire request) ▶ Candidate ▶ Verdict ▶ Ranked

Knows no LSP types and no wire types. All offsets are Python string indexes (code points); only `cursor.py` and
`edits.py` convert from and to LSP columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from codegen_lsp.lsp.reasons import Reason


@dataclass(frozen=True, slots=True)
class Candidate:
    """One continuation as it goes through filters and ranking."""

    text: str
    """What would be inserted at the cursor, line endings `\\n`."""
    mean_logprob: float | None = None
    """Mean log-probability (natural) of the tokens of `raw`; None where the server gave none."""
    finish: str | None = None
    """`stop`, `length`, or None if the stream was closed early."""
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
    """The filters' decision about one candidate, with their trail for the user to read."""

    candidate: Candidate
    reason: Reason | None = None
    """Why it was dropped; None if it was kept."""
    trail: tuple[str, ...] = ()
    """A sentence for each filter that changed or dropped it: `close-brackets: took back ")"`."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate that is shown, with its score (higher is better)."""

    candidate: Candidate
    score: float
    parts: tuple[tuple[str, float], ...] = field(default=())
    """What the score is the sum of, by name: `mean_logprob`, `tokens`, `suffix_gain`, `parse`, `fit`, `length`."""
