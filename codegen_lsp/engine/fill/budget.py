"""Fit a prefix, a suffix and other files into the tokens that a prompt may have. Pure.

What is farthest from the cursor goes first: other files in their order, the end of the suffix, the start of the prefix.
"""

from __future__ import annotations

from collections.abc import Sequence

SUFFIX_SHARE = 4
"""A suffix gets this fraction of the room, and more if the prefix leaves it."""
STEPS = 8
"""The prefix's start moves in steps of this fraction of the room, so that it stays in place over many requests."""


def fit(prefix: Sequence[int], suffix: Sequence[int], room: int) -> tuple[Sequence[int], Sequence[int]]:
    """Return the end of the prefix and the start of the suffix that have at most `room` tokens together."""
    room = max(room, 1)
    if len(prefix) + len(suffix) <= room:
        return prefix, suffix
    suffix = suffix[: max(room // SUFFIX_SHARE, room - len(prefix))]
    excess = len(prefix) + len(suffix) - room
    step = max(1, room // STEPS)
    # At least one token of the prefix is left, which a step could take.
    cut = min(-(-excess // step) * step, len(prefix) - 1) if excess > 0 else 0
    return prefix[max(cut, excess) :], suffix


def meeting_stop(suffix: str) -> str:
    """Return the text at which a completion has run into the suffix, empty if that can't be told.

    The suffix's beginning, up to the end of its second line with text; two short lines could be part of a completion.
    """
    lines: list[str] = []
    for line in suffix[:MEETING_CHARACTERS].splitlines(keepends=True)[:16]:
        lines.append(line)
        texts = [text.strip() for text in lines if text.strip()]
        if len(texts) >= LEAST_LINES and sum(map(len, texts)) >= LEAST_CHARACTERS:
            return "".join(lines).rstrip()
    return ""


MEETING_CHARACTERS = 4096
"""Characters of a suffix that are looked at; a million lines take a second to split."""
LEAST_LINES, LEAST_CHARACTERS = 2, 16
"""Lines with text, and characters in them, of a suffix that a completion doesn't contain by chance."""
