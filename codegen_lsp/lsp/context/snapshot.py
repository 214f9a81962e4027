"""Documents as the event loop has them, and as it hands them to the thread that reads other files.

Imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DocumentSnapshot:
    """A document as it was when the gathering was asked for."""

    path: str
    language: str
    text: str
    line: int = 0
    """0-based line of the cursor."""
    recent: tuple[str, ...] = ()
    """Paths of the files of the same language that are open or were edited, the newest first."""


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """A document as the editor has it."""

    uri: str
    language: str
    text: str
