"""The text of a source file as models see it, and whether it is worth learning from.

Judges one text at a time; comparing texts with each other is the duty of `windows`.
"""

from __future__ import annotations

import re
import tokenize
from pathlib import Path

import numpy as np

from codegen_lsp.nano.corpus import sources
from codegen_lsp.nano.corpus.windows import LEAK_WIDTH, Hashes, window_hashes

_MIN_CHARS, _MAX_CHARS = 200, 400_000

_GENERATED = re.compile(
    r"""
    auto-?\s?generated
    | automatically\ (?:generated|created)
    | generated\ (?:by|from|automatically)
    | do\ not\ (?:edit|modify)
    """,
    re.IGNORECASE | re.VERBOSE,
)


def read_source(path: Path) -> str | None:
    """Return the text of a Python file, decoded as it declares, with `\\n` line ends; None if that fails."""
    try:
        with tokenize.open(path) as stream:
            return stream.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def as_document(text: str) -> str:
    """Return the text as models see it, in training and in evaluation: without the licence notice at its head.

    The same notice opens thousands of files. It is not a useful completion, and it would count as text shared with
    held-out files. For example, "# Copyright 2020 A. Name\\n\\nimport os  \\n" becomes "import os\\n".
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start = 0
    while start < len(lines) and (not lines[start].strip() or lines[start].startswith("#")):
        start += 1
    head = "\n".join(lines[:start])
    if re.search(r"copyright|licen[sc]e", head, re.IGNORECASE):
        lines = lines[start:]
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def rejection(text: str) -> str | None:
    """Return a reason code if a text is not worth learning from, otherwise None."""
    if not _MIN_CHARS <= len(text) <= _MAX_CHARS:
        return "size"
    lines = text.split("\n")
    if max(map(len, lines)) > 1000 or len(text) / len(lines) > 80:
        return "long-lines"
    visible = re.sub(r"\s", "", text)
    letters = sum(map(str.isalpha, visible))
    if letters < 0.55 * len(visible) or len(visible.encode()) > 1.1 * len(visible):
        return "table"
    return None


def is_generated(raw: str) -> bool:
    """Return whether the head of a file says that a program wrote it."""
    return _GENERATED.search(raw[:1500]) is not None


def held_out_text(path: Path) -> str | None:
    """Return the text of a held-out file as `as_document` gives it; None if the file cannot be decoded."""
    text = read_source(path)
    return None if text is None else as_document(text)


def held_out_windows() -> Hashes:
    """Return the sorted hashes of all windows of `LEAK_WIDTH` lexical tokens in the held-out distributions."""
    parts = [
        window_hashes(text, LEAK_WIDTH)
        for distribution in sources.held_out()
        for _, path in distribution.files
        if (text := held_out_text(path)) is not None
    ]
    return np.unique(np.concatenate(parts))
