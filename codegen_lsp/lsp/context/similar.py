"""Passages of open and recently edited files that are like the code at the cursor. Pure.

Identifiers are compared as sets (Jaccard's index), window by window, as Copilot and RepoCoder do it: code that is being
written is often a variation of code that was just read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from codegen_lsp.lsp.prompts.others import FilePiece

WINDOW, STEP = 24, 8
"""Lines of a passage, and lines from one to the next."""
LEAST = 0.15
"""Similarity below which a passage says nothing about the code at the cursor."""
PASSAGES = 2
MAX_WINDOWS = 1500
"""Number of windows that are compared."""
_SAME = 0.6
"""Share of a passage's lines that are in the current file, from which on it is a copy of it."""
_WORD = re.compile(r"[^\W\d]\w{2,}")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """
        and any args assert async await bool break case catch char class const continue def default del dict elif else
        enum except export extends false False final finally float for from func function global implements import int
        interface isinstance kwargs lambda len let list namespace new nil None not null object package pass print
        private protected public raise range require return self set static str string struct super switch this throw
        true True try tuple type typedef typing undefined using val var void while with yield
        """,
    )
)
"""Words that are in code of every kind."""


@dataclass(frozen=True, slots=True)
class RecentFile:
    """A file that is open, or was edited a short time ago."""

    path: str
    """As people write it."""
    text: str


def words_of(text: str) -> frozenset[str]:
    """Return the identifiers of a text that say something about it."""
    return frozenset(_WORD.findall(text)) - _COMMON


@lru_cache(maxsize=12)
def _windows(text: str) -> tuple[tuple[int, frozenset[str]], ...]:
    """Return the windows of a text: the first line's number, and the words of each."""
    lines = text.split("\n")
    starts = range(0, max(1, len(lines) - STEP), STEP)
    shared = {word: word for word in words_of(text)}
    return tuple(
        (start, frozenset(shared[word] for word in words_of("\n".join(lines[start : start + WINDOW]))))
        for start in starts
    )


def similar_passages(near: str, own: str, recent: Sequence[RecentFile]) -> tuple[FilePiece, ...]:
    """Return the passages that are most like the lines `near` the cursor, one of each file, without copies of `own`."""
    words = words_of(near)
    if len(words) < 3:
        return ()
    lines = frozenset(line.strip() for line in own.split("\n") if line.strip())
    best: list[tuple[float, int, FilePiece]] = []
    looked_at = 0
    for number, file in enumerate(recent):
        windows = _windows(file.text)
        looked_at += len(windows)
        if looked_at > MAX_WINDOWS:
            break
        scored = sorted(
            ((-_similarity(words, each), start) for start, each in windows), key=lambda pair: pair[0]
        )
        for score, start in scored[:4]:
            passage = file.text.split("\n")[start : start + WINDOW]
            if -score < LEAST:
                break
            if not _is_copy(passage, lines):
                best.append((score, number, _piece(file, passage, -score)))
                break
    best.sort(key=lambda each: each[:2])
    return tuple(piece for _, _, piece in best[:PASSAGES])


def _similarity(first: frozenset[str], second: frozenset[str]) -> float:
    return len(first & second) / max(1, len(first | second))


def _is_copy(passage: Sequence[str], lines: frozenset[str]) -> bool:
    texts = [line.strip() for line in passage if line.strip()]
    return sum(text in lines for text in texts) >= _SAME * max(1, len(texts))


def _piece(file: RecentFile, passage: Sequence[str], score: float) -> FilePiece:
    texts = []
    for share in (1, 2):
        part = passage[: len(passage) // share]
        texts.append("\n".join(part).strip("\n").rstrip())
    return FilePiece(
        file.path,
        tuple(t for t in dict.fromkeys(texts) if t),
        "similar",
        f"{score:.0%} of the words are the same",
    )
