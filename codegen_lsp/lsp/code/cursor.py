"""Convert documents and LSP positions to plain `Cursor`s.

Knows LSP columns (UTF-8, UTF-16 and UTF-32 units), line endings and how a file is indented. Nothing past this
module and `edits.py` counts in anything but characters. Lines end at `\\n`, `\\r\\n` and `\\r` only, as LSP says;
`str.splitlines` also breaks at form feeds and Unicode separators and is not used. Every step over a whole
document is a string search in C, so that a document of 5 MB costs a few milliseconds.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from lsprotocol import types as lsp

from codegen_lsp.lsp.code.languages import language as table
from codegen_lsp.lsp.code.positions import characters, lines_in, offset_at
from codegen_lsp.lsp.names.known import NO_NAMES, ForeignNames

if TYPE_CHECKING:
    from pygls.workspace import TextDocument

StepCounts = tuple[Counter[str], Counter[str], Counter[str]]
"""How often each step of indentation comes, by the kind of the line above it."""
Shape = Literal["line", "block"]
"""The extent of a suggestion: the rest of one line, or a block of several."""


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
    is_indent_known: bool = True
    """Whether the document or the editor says what a level is; else `indent` is the language's by custom."""
    selected: Selected | None = None
    foreign: ForeignNames = NO_NAMES

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


_SAMPLE = 12 * 1024
"""Characters on each side of the cursor that line endings and indentation are read from."""
_ALIGNED = 1024
"""The text before the cursor is read from a multiple of this number of characters on.

So it starts at the same place from one keystroke to the next, and what is known of it stays.
"""
_WHOLE = 256 * 1024
"""Characters of the longest text whose long strings are looked at to leave them out of the sample."""
_GAP = "\x01"
"""Marks a line whose depth is unknown."""
_REMOVED = "\x02"
"""Marks where text was taken out: what follows on the line does not start there."""
_LEADING = re.compile(rf"^([ \t]*)(?=[^\s#*/{_REMOVED}]|{_REMOVED}+[ \t]*[^\s{_REMOVED}])", re.MULTILINE)
_BLANK_REST = re.compile(r"[ \t]*(?:[\r\n]|\Z)")


def read(
    document: TextDocument,
    position: lsp.Position,
    encoding: str,
    *,
    tab_size: int | None = None,
    insert_spaces: bool | None = None,
) -> Cursor:
    """Return the document around a position whose column counts units of `encoding` (`utf-8`, `utf-16`, `utf-32`).

    A line or column out of range is clamped to the nearest that exists, a column within a character (the
    middle of a surrogate pair) to that character's start. `tab_size` and `insert_spaces` are the client's
    formatting options; they count only where the file itself gives no evidence.
    """
    text = document.source
    offset, line = offset_at(text, position.line, position.character, encoding)
    cursor = at_offset(
        text,
        offset,
        line=line,
        uri=document.uri,
        language=document.language_id or "",
        version=document.version,
    )
    samples = ((_end_of(cursor.prefix), cursor.suffix[:_SAMPLE]), (cursor.prefix[:_SAMPLE], ""))
    if insert_spaces is None or any(_evidence(*sample, cursor.language) for sample in samples):
        return cursor
    indent = " " * (tab_size if tab_size and 0 < tab_size <= 16 else 4) if insert_spaces else "\t"
    return replace(cursor, indent=indent, is_indent_known=True)


@lru_cache(maxsize=2)  # of a keystroke, the change and the request for a suggestion are at the same place
def at_offset(
    text: str,
    offset: int,
    *,
    line: int | None = None,
    uri: str = "",
    language: str = "",
    version: int | None = None,
) -> Cursor:
    """Return the text around an offset in characters, clamped to the text and never between `\\r` and `\\n`."""
    offset = max(0, min(offset, len(text)))
    if text[offset - 1 : offset + 1] == "\r\n":
        offset -= 1
    prefix, suffix = text[:offset], text[offset:]
    before, after = prefix, suffix
    if len(text) <= _WHOLE and '"""' in text:  # examples in strings may be indented otherwise
        within = suffix.find('"""') + 3 if suffix.count('"""') % 2 else 0  # the opener is missing
        before, after = (_without(part, '"""', '"""') for part in (prefix, suffix[within:]))
    shown = _end_of(before), after[:_SAMPLE]
    indent = _evidence(*shown, language) or _evidence(prefix[:_SAMPLE], "", language)
    return Cursor(
        uri=uri,
        language=language,
        version=version,
        line=lines_in(prefix) if line is None else line,
        prefix=prefix,
        suffix=suffix,
        newline=_newline(_sample(text, offset)),
        indent=indent or table(language).indent,
        is_indent_known=bool(indent),
    )


def select(cursor: Cursor, text: str, range_: lsp.Range, encoding: str) -> Cursor | None:
    """Return the cursor with the menu's selected entry accepted, or None if that is impossible.

    `text` replaces `range_`, which must be on the cursor's line and hold the cursor
    (`InlineCompletionContext.selectedCompletionInfo`).
    """
    before, after = cursor.line_prefix, cursor.line_suffix
    if range_.start.line != cursor.line or range_.end.line != cursor.line or re.search(r"[\r\n]", text):
        return None
    start = characters(before + after, range_.start.character, encoding)
    end = characters(before + after, range_.end.character, encoding)
    if not start <= len(before) <= end:
        return None
    replaced = (before + after)[start:end]
    return replace(
        cursor,
        prefix=cursor.prefix[: len(cursor.prefix) - len(before) + start] + text,
        suffix=cursor.suffix[end - len(before) :],
        selected=Selected(text, replaced),
    )


def _sample(text: str, offset: int) -> str:
    return text[max(0, offset - _SAMPLE) : offset + _SAMPLE]


def _newline(sample: str) -> str:
    if "\r" not in sample:
        return "\n"
    pairs = sample.count("\r\n")
    counts = {"\n": sample.count("\n") - pairs, "\r\n": pairs, "\r": sample.count("\r") - pairs}
    return max(counts, key=lambda ending: counts[ending])


def _end_of(text: str) -> str:
    """Return the end of a text that indentation is read from."""
    return text[max(0, len(text) - _SAMPLE) // _ALIGNED * _ALIGNED :]


def _evidence(before: str, after: str, language: str) -> str:
    """Return one level of indentation as the text around the cursor shows it.

    It is empty where nothing but continued lines is indented.
    """
    before = _with_gap(before, after)
    if ("/*", "*/") in table(language).block_comments:
        before, after = _without(before + after, "/*", "*/"), ""
    steps = next((counter for counter in _steps_in(before, after)[:2] if counter), None)
    return steps.most_common(1)[0][0] if steps else ""


def _without(text: str, opener: str, closer: str) -> str:
    """Return the text with a mark for each `opener`, `closer` and what is between them."""
    pieces, position = [], 0
    while (start := text.find(opener, position)) >= 0 and (
        end := text.find(closer, start + len(opener))
    ) >= 0:
        pieces += [text[position:start], _REMOVED]
        position = end + len(closer)
    return "".join([*pieces, text[position:]])


def _with_gap(before: str, after: str) -> str:
    """Return the text before the cursor for `_steps_in`: a missing line at its end is marked.

    How much deeper the line below is than the line above says nothing where the cursor's line is empty, unless
    the cursor is as deep as the line below.
    """
    white = before[max(before.rfind("\n"), before.rfind("\r")) + 1 :]
    if white.strip(" \t") or not _BLANK_REST.match(after):
        return before
    following = _LEADING.search(after)
    is_gap = following is not None and following.group(1) != white
    return before + _GAP if is_gap else before


def indent_steps(before: str, after: str) -> StepCounts:
    """Return how often each step of indentation comes in the text around the cursor.

    Three counters: below lines that certainly open a block, below other lines, and below lines that are continued:

        int f(int a,
              int b) {
          return a;        one sure step of two columns
    """
    return _steps_in(_with_gap(before, after), after)


def _steps_in(before: str, after: str) -> StepCounts:
    """Return the steps in two texts, one after the other.

    They are counted in three parts, of which the first and the last stay the same while one line is typed.
    """
    before, after = (text.replace("\r", "\n") if "\r" in text else text for text in (before, after))
    line, rest = before.rfind("\n") + 1, after.find("\n") + 1 or len(after)
    total: StepCounts = (Counter(), Counter(), Counter())
    previous, kind = "", _OTHER
    for part in (before[:line], before[line:] + after[:rest], after[rest:]):
        steps, previous, kind = _steps_after(part, previous, kind)
        for counter, more in zip(total, steps, strict=True):
            counter.update(more)
    return total


@lru_cache(maxsize=32)
def _steps_after(text: str, previous: str, kind: int) -> tuple[StepCounts, str, int]:
    """Return the steps in whole lines, the white space before the last one, and its kind.

    Args:
        text: the lines.
        previous: the white space of the line before them.
        kind: whether that line opens a block, is continued or neither: the number of the counter for a step below it.
    """
    steps: StepCounts = (Counter(), Counter(), Counter())
    end = 0
    for match in _LEADING.finditer(text):
        leading = match.group(1)
        if text.startswith(_GAP, match.end()):
            previous, end = _DEEPEST, match.end()
            continue
        if len(leading) > len(previous) and leading.startswith(previous):
            step = leading[len(previous) :]
            if step in _STEPS:
                steps[_kind_of(text[end : match.start()], kind)][step] += 1
        previous, end, kind = leading, match.end(), _OTHER
    return steps, previous, _kind_of(text[end:], kind)


def _kind_of(text: str, otherwise: int) -> int:
    """Return the kind of a line by its end, another one if nothing is in the text."""
    ending = text.rstrip()[-1:]
    if not ending:
        return otherwise
    return _OPENS if ending in "{:" else _IS_CONTINUED if ending in _GOES_ON else _OTHER


_OPENS, _OTHER, _IS_CONTINUED = range(3)


_DEEPEST = "\0"
"""No white space starts with it, so that no step follows."""
_STEPS = frozenset(["\t", "  ", "   ", "    ", "        "])
_GOES_ON = frozenset(",(=+&|.\\<?")
"""Endings of a line that is continued on the next line."""
