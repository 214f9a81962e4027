"""Earlier suggestions, so that typing along with one, or going back, needs no request.

One cache serves all documents of a session. An entry holds what was shown at a cursor; it is dropped when it is the
least recently used one or its document is closed. It is served only if the text before the cursor is exactly what
it was plus what the user typed of the suggestion. Lengths are compared first, then the last characters, then the
whole, so that a look-up in a document of 5 MB takes well under a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cachetools import LRUCache

from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.code.lines import normalize
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.fitting import overlap
from codegen_lsp.lsp.suggest.values import Ranked
from codegen_lsp.lsp.uris import canonical

_BELOW = 512
"""Number of characters after the cursor that must be unchanged."""
_TAIL = 48
"""Number of characters before the cursor that are compared first."""
_SHARE = 256 * 1024
"""Number of characters of a prefix that count as one entry; a longer prefix takes the room of several."""
_CLOSERS = frozenset(")]}\"'`")
_MOST_CLOSED = 8
"""Maximum number of brackets and quotes that an editor closes at once."""


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
    """The last suggestions of all documents."""

    def __init__(self, capacity: int = 100) -> None:
        """Keep at most `capacity` entries; 0 disables the cache."""
        self._entries: LRUCache[_Key, _Entry] = LRUCache(maxsize=capacity, getsizeof=lambda entry: entry.room)

    def put(self, cursor: Cursor, ranked: Sequence[Ranked]) -> None:
        """Keep what is shown at a cursor; an empty list is not kept."""
        longest = max((len(r.candidate.text) for r in ranked), default=0)
        entry = _Entry(cursor.prefix, cursor.suffix[:_BELOW], tuple(ranked), longest)
        if ranked and entry.room <= self._entries.maxsize:
            self._entries[_key(cursor)] = entry

    def get(self, cursor: Cursor) -> tuple[Ranked, ...] | None:
        """Return what remains of an entry at this cursor; None if a request is needed."""
        for key, entry in self._near(cursor):
            remaining = _remaining(entry, cursor)
            if remaining:
                self._entries[key]  # Marks the entry as used.
                return remaining
        return None

    def expected(self, cursor: Cursor) -> str:
        """Return the text of the suggestion that was shown last before a cursor, empty if there is none near.

        Most of it is often right even if the user has typed something else meanwhile.
        """
        for _, entry in self._near(cursor):
            return entry.ranked[0].candidate.text
        return ""

    def forget(self, uri: str) -> None:
        """Drop all entries of a document."""
        for key in [key for key in self._entries if key[0] == canonical(uri)]:
            del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)

    def _near(self, cursor: Cursor) -> Iterator[tuple[_Key, _Entry]]:
        """Yield the document's entries that may apply at a cursor, the nearest before it first."""
        distances, uri = [], canonical(cursor.uri)
        for key, entry in self._entries.items():
            typed = len(cursor.prefix) - len(entry.prefix)
            if key[0] == uri and 0 <= typed <= 2 * entry.longest:
                distances.append((typed, key, entry))
        for _, key, entry in sorted(distances, key=lambda distance: distance[0]):
            yield key, entry


def _key(cursor: Cursor) -> _Key:
    return canonical(cursor.uri), len(cursor.prefix), cursor.prefix[-_TAIL:], cursor.suffix[:_BELOW]


def _remaining(entry: _Entry, cursor: Cursor) -> tuple[Ranked, ...]:
    """Return what the user has yet to type of an entry; nothing if the text around the cursor differs.

    Shown `compute(a)` at `x = ‸`, typed up to `x = comp‸`: `ute(a)` remains.
    """
    end = len(entry.prefix)
    if cursor.prefix[max(0, end - _TAIL) : end] != entry.prefix[-_TAIL:]:
        return ()
    typed = normalize(cursor.prefix[end:])
    closed = _closed(entry.below, cursor.suffix[:_BELOW], typed)
    if closed is None or not cursor.prefix.startswith(entry.prefix):
        return ()
    matching = (ranked for ranked in entry.ranked if ranked.candidate.text.startswith(typed))
    continued = (_continued(ranked, typed, closed, cursor) for ranked in matching)
    return tuple(ranked for ranked in continued if ranked.candidate.text.strip())


def _continued(ranked: Ranked, typed: str, closed: int, cursor: Cursor) -> Ranked:
    text, covered = ranked.candidate.text[len(typed) :], max(0, ranked.candidate.replace + min(closed, 0))
    if closed > 0:
        text, covered = overlap.fit(text, Site.of(cursor))
    return replace(ranked, candidate=replace(ranked.candidate, text=text, replace=covered))


def _closed(before: str, after: str, typed: str) -> int | None:
    """Return how many closing brackets and quotes the editor has put after the cursor since the entry was made.

    A negative number counts those that the user typed over; None means that the text after the cursor changed in
    another way. With `foo` typed, `` before and `)` after give 1; `)` before and `` after give -1.
    """
    if before == after:
        return 0
    if not typed:
        return None
    for size in range(1, _MOST_CLOSED + 1):
        if _CLOSERS.issuperset(after[:size]) and after[size:] == before[: _BELOW - size]:
            return size
        if _CLOSERS.issuperset(before[:size]) and before[size:] == after[: _BELOW - size]:
            return -size
    return None
