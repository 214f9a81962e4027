"""Documents and LSP positions in, plain `Cursor`s out.

Knows LSP columns (UTF-8, UTF-16 and UTF-32 units), line endings and how a file is indented. Nothing past this
module and `edits.py` counts in anything but characters. Lines end at `\\n`, `\\r\\n` and `\\r` only, as LSP says;
`str.splitlines` also breaks at form feeds and Unicode separators and is not used. Every step over a whole
document is one of C's string searches, so that a document of 5 MB costs a few milliseconds.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from codegen_lsp.lsp.types import Cursor, Selected

if TYPE_CHECKING:
    from lsprotocol import types as lsp
    from pygls.workspace import TextDocument

_SAMPLE = 12 * 1024
"""Characters on each side of the cursor that line endings and indentation are read from."""
_CHUNK = 64 * 1024
_LEADING = re.compile(r"^([ \t]*)(?=[^\s#*/])", re.MULTILINE)
_DEFAULT_INDENT = {"go": "\t", "makefile": "\t", "javascript": "  ", "typescript": "  "}


def read(
    document: TextDocument,
    position: lsp.Position,
    encoding: str,
    *,
    tab_size: int | None = None,
    insert_spaces: bool | None = None,
) -> Cursor:
    """The document around a position whose column counts units of `encoding` (`utf-8`, `utf-16`, `utf-32`).

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
    if insert_spaces is None or _evidence(_sample(text, offset)) or _evidence(text[:_SAMPLE]):
        return cursor
    indent = " " * (tab_size if tab_size and 0 < tab_size <= 16 else 4) if insert_spaces else "\t"
    return replace(cursor, indent=indent)


def at_offset(
    text: str,
    offset: int,
    *,
    line: int | None = None,
    uri: str = "",
    language: str = "",
    version: int | None = None,
) -> Cursor:
    """The text around an offset in characters, clamped to the text and never between `\\r` and `\\n`."""
    offset = max(0, min(offset, len(text)))
    if text[offset - 1 : offset + 1] == "\r\n":
        offset -= 1
    prefix = text[:offset]
    sample = _sample(text, offset)
    return Cursor(
        uri=uri,
        language=language,
        version=version,
        line=_lines_in(prefix) if line is None else line,
        prefix=prefix,
        suffix=text[offset:],
        newline=_newline(sample),
        indent=_evidence(sample) or _evidence(text[:_SAMPLE]) or _DEFAULT_INDENT.get(language, "    "),
    )


def select(cursor: Cursor, text: str, range_: lsp.Range, encoding: str) -> Cursor | None:
    """The cursor as it will be once the menu's selected entry is taken, or None where that can't be.

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


def offset_at(text: str, line: int, column: int, encoding: str) -> tuple[int, int]:
    """Where a position is, in characters, and the line after clamping."""
    if line < 0:
        return 0, 0
    start, reached = _line_start(text, line)
    if reached < line:
        return len(text), reached
    end = text.find("\n", start)
    content = text[start : end if end >= 0 else len(text)].partition("\r")[0]
    return start + characters(content, column, encoding), line


def position_at(text: str, offset: int, encoding: str) -> tuple[int, int]:
    """The line and column of an offset in characters."""
    prefix = text[: max(0, min(offset, len(text)))]
    start = max(prefix.rfind("\n"), prefix.rfind("\r")) + 1
    return _lines_in(prefix), units(prefix[start:], encoding)


def units(text: str, encoding: str) -> int:
    """The length of a text in units of `encoding`."""
    if encoding == "utf-32" or text.isascii():
        return len(text)
    if encoding == "utf-8":
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def characters(line: str, column: int, encoding: str) -> int:
    """The characters of a line before a column in units of `encoding`, clamped to the line."""
    column = max(0, column)
    if encoding == "utf-32" or line.isascii():
        return min(column, len(line))
    if encoding == "utf-8":
        data = line.encode("utf-8", "surrogatepass")
        while column < len(data) and data[column] & 0xC0 == 0x80:
            column -= 1
        return len(data[:column].decode("utf-8", "surrogatepass"))
    data = line.encode("utf-16-le", "surrogatepass")
    cut = 2 * column
    if 0 < cut < len(data) and data[cut - 1] & 0xFC == 0xD8 and data[cut + 1] & 0xFC == 0xDC:
        cut -= 2
    return len(data[:cut].decode("utf-16-le", "surrogatepass"))


def _line_start(text: str, line: int) -> tuple[int, int]:
    """Where a line starts and its number; the last line's for one past the end."""
    if not _only_line_feeds(text):
        text = text.replace("\r\n", " \n").replace("\r", "\n")  # as long as it was
    seen = chunk = 0
    while chunk < len(text):
        here = text.count("\n", chunk, chunk + _CHUNK)
        if seen + here >= line:
            break
        seen, chunk = seen + here, chunk + _CHUNK
    start = chunk
    while seen < line and (found := text.find("\n", start)) >= 0:
        seen, start = seen + 1, found + 1
    if seen < line:
        start = text.rfind("\n") + 1
    elif start == chunk:
        start = text.rfind("\n", 0, chunk) + 1
    return start, seen


def _lines_in(prefix: str) -> int:
    returns = prefix.count("\r") - prefix.count("\r\n") if "\r" in prefix else 0
    return prefix.count("\n") + returns


def _only_line_feeds(text: str) -> bool:
    """Whether every line ends with `\\n`, be it after a `\\r` or not."""
    return "\r" not in text or text.count("\r") == text.count("\r\n")


def _sample(text: str, offset: int) -> str:
    return text[max(0, offset - _SAMPLE) : offset + _SAMPLE]


def _newline(sample: str) -> str:
    if "\r" not in sample:
        return "\n"
    pairs = sample.count("\r\n")
    counts = {"\n": sample.count("\n") - pairs, "\r\n": pairs, "\r": sample.count("\r") - pairs}
    return max(counts, key=lambda ending: counts[ending])


def _evidence(sample: str) -> str:
    """One level of indentation as the text shows it; empty where nothing is indented."""
    steps: Counter[str] = Counter()
    previous = ""
    for match in _LEADING.finditer(sample.replace("\r", "\n") if "\r" in sample else sample):
        leading = match.group(1)
        if len(leading) > len(previous) and leading.startswith(previous):
            step = leading[len(previous) :]
            if step in _STEPS:
                steps[step] += 1
        previous = leading
    return steps.most_common(1)[0][0] if steps else ""


_STEPS = frozenset(["\t", "  ", "   ", "    ", "        "])
