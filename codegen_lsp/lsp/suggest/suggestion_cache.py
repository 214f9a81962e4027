"""What was suggested, so that typing through it or going back needs no engine.

Owned by the server, one for all documents. An entry is what was shown at a cursor; it lives until it is the
least recently used, or its document is closed. It is served only where the text before the cursor is, to the
last character, what it was plus what the user typed of the suggestion. Lengths are compared first, then the last
characters, then all, so that a look-up in a document of 5 MB costs well under a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cachetools import LRUCache

from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.code.lines import normalize
from codegen_lsp.lsp.fitting import overlap
from codegen_lsp.lsp.suggest.values import Ranked

_BELOW = 512
"""Characters after the cursor that must be as they were."""
_TAIL = 48
_SHARE = 256 * 1024
"""Characters of a prefix that count as one answer; a longer one takes the room of several."""
_CLOSERS = frozenset(")]}\"'`")
_MOST_CLOSED = 8


@dataclass(frozen=True, slots=True)
class _Entry:
    prefix: str
    below: str
    ranked: tuple[Ranked, ...]
    longest: int

    @property
    def room(self) -> int:
        return 1 + len(self.prefix) // _SHARE


_Key = tuple[str, int, str, str]


class SuggestionCache:
    """Remembers the last answers, of all documents together."""

    def __init__(self, answers: int = 100) -> None:
        """Of at most `answers` answers; 0 remembers nothing."""
        self._entries: LRUCache[_Key, _Entry] = LRUCache(maxsize=answers, getsizeof=lambda entry: entry.room)

    def put(self, cursor: Cursor, ranked: Sequence[Ranked]) -> None:
        """Remember what is shown at a cursor. Nothing shown is nothing to remember."""
        longest = max((len(r.candidate.text) for r in ranked), default=0)
        entry = _Entry(cursor.prefix, cursor.suffix[:_BELOW], tuple(ranked), longest)
        if ranked and entry.room <= self._entries.maxsize:
            self._entries[_key(cursor)] = entry

    def get(self, cursor: Cursor) -> tuple[Ranked, ...] | None:
        """What is left of a remembered answer at this cursor; None where the engine must be asked."""
        for key, entry in self._candidates(cursor):
            rest = _rest(entry, cursor)
            if rest:
                self._entries[key]  # it was used
                return rest
        return None

    def forget(self, uri: str) -> None:
        """Drop all of a document's answers."""
        for key in [k for k in self._entries if k[0] == uri]:
            del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)

    def _candidates(self, cursor: Cursor) -> Iterator[tuple[_Key, _Entry]]:
        """The document's entries that may hold here, nearest behind the cursor first."""
        found = []
        for key, entry in self._entries.items():
            typed = len(cursor.prefix) - len(entry.prefix)
            if key[0] == cursor.uri and 0 <= typed <= 2 * entry.longest:
                found.append((typed, key, entry))
        for _, key, entry in sorted(found, key=lambda f: f[0]):
            yield key, entry


def _key(cursor: Cursor) -> _Key:
    return cursor.uri, len(cursor.prefix), cursor.prefix[-_TAIL:], cursor.suffix[:_BELOW]


def _rest(entry: _Entry, cursor: Cursor) -> tuple[Ranked, ...]:
    """What the user has yet to type of an entry; empty where the text around the cursor is another."""
    end = len(entry.prefix)
    if cursor.prefix[max(0, end - _TAIL) : end] != entry.prefix[-_TAIL:]:
        return ()
    typed = normalize(cursor.prefix[end:])
    closed = _closed(entry.below, cursor.suffix[:_BELOW], typed)
    if closed is None or not cursor.prefix.startswith(entry.prefix):
        return ()
    rest = (_continued(r, typed, closed, cursor) for r in entry.ranked if r.candidate.text.startswith(typed))
    return tuple(r for r in rest if r.candidate.text.strip())


def _continued(ranked: Ranked, typed: str, closed: int, cursor: Cursor) -> Ranked:
    text, covered = ranked.candidate.text[len(typed) :], max(0, ranked.candidate.replace + min(closed, 0))
    if closed > 0:
        text, covered = overlap.fit(text, cursor)
    return replace(ranked, candidate=replace(ranked.candidate, text=text, replace=covered))


def _closed(then: str, now: str, typed: str) -> int | None:
    """How many closing brackets and quotes the editor put after the cursor since (negative: how many the user
    typed over), or None where the text after the cursor changed in another way."""
    if then == now:
        return 0
    if not typed:
        return None
    for size in range(1, _MOST_CLOSED + 1):
        if _CLOSERS.issuperset(now[:size]) and now[size:] == then[: _BELOW - size]:
            return size
        if _CLOSERS.issuperset(then[:size]) and then[size:] == now[: _BELOW - size]:
            return -size
    return None
