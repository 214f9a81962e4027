"""The words that a row may begin with, as what remains of them to be spelled. Pure: knows bytes, and no tokens.

Of "send" and "set_cookie", "nd" and "t_cookie" remain after "se". Nothing remains of a word that is spelled: then an
empty rest is among the others, and what comes next may be what ends a word. Rests are sorted, each is there once: a
receiver may have hundreds of members, and each token of each row asks which of them go on with it.
"""

from __future__ import annotations

from bisect import bisect_left

from codegen_lsp.engine.model.vocabulary import WORD_BYTES, first_after

Rests = tuple[bytes, ...]


def rests_after(rests: Rests, raw: bytes) -> Rests:
    """Return what remains of the words after more bytes; no rests once a word has ended, or if no word goes on so."""
    return tuple(rest[len(raw) :] for rest in _going_on(rests, raw))


def certain_after(rests: Rests, raw: bytes) -> bytes:
    """Return these bytes with what comes after them whatever word it is.

    Where "set_cookie" is the only word that begins with "s", both "s" and "set" give "set_cookie".
    """
    if not (words := _going_on(rests, raw)):
        return raw
    first, last = words[0], words[-1]  # what these two begin with, all between them do
    differing = (at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(differing, len(first))]


def _going_on(rests: Rests, raw: bytes) -> Rests:
    """Return the rests that begin with some bytes; none if these end one."""
    ends = (raw[:at] for at, byte in enumerate(raw) if byte not in WORD_BYTES)
    if any(_has(rests, end) for end in ends):
        return ()
    return rests[bisect_left(rests, raw) : bisect_left(rests, first_after(raw))]


def _has(rests: Rests, rest: bytes) -> bool:
    at = bisect_left(rests, rest)
    return rests[at : at + 1] == (rest,)
