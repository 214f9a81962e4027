"""LSP positions and character offsets: convert between them in UTF-8, UTF-16 and UTF-32 columns.

Lines end at `\\n`, `\\r\\n` and `\\r` only, as LSP says. Every step over a whole document
is a string search in C.
"""

from __future__ import annotations

_CHUNK = 4 * 1024


def offset_at(text: str, line: int, column: int, encoding: str) -> tuple[int, int]:
    """Return the offset of a position in characters, and its line, both clamped to the text."""
    if line < 0:
        return 0, 0
    start, reached = _line_start(text, line)
    if reached < line:
        return len(text), reached
    end = text.find("\n", start)
    content = text[start : end if end >= 0 else len(text)].partition("\r")[0]
    return start + characters(content, column, encoding), line


def position_at(text: str, offset: int, encoding: str) -> tuple[int, int]:
    """Return the line and column of an offset in characters."""
    prefix = text[: max(0, min(offset, len(text)))]
    start = max(prefix.rfind("\n"), prefix.rfind("\r")) + 1
    return lines_in(prefix), units(prefix[start:], encoding)


def units(text: str, encoding: str) -> int:
    """Return the length of a text in units of `encoding`."""
    if encoding == "utf-32" or text.isascii():
        return len(text)
    if encoding == "utf-8":
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def characters(line: str, column: int, encoding: str) -> int:
    """Return the characters of a line before a column in units of `encoding`, clamped to the line."""
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
    """Return the offset of a line's start and the line's number; those of the last line for a line past the end."""
    if not _only_line_feeds(text):
        text = text.replace("\r\n", " \n").replace("\r", "\n")  # as long as it was
    count = chunk = 0
    while chunk < len(text):
        ends = text.count("\n", chunk, chunk + _CHUNK)
        if count + ends >= line:
            break
        count, chunk = count + ends, chunk + _CHUNK
    start = chunk
    while count < line and (end := text.find("\n", start)) >= 0:
        count, start = count + 1, end + 1
    if count < line:
        start = text.rfind("\n") + 1
    elif start == chunk:
        start = text.rfind("\n", 0, chunk) + 1
    return start, count


def lines_in(prefix: str) -> int:
    """Return the number of line ends in a text."""
    returns = prefix.count("\r") - prefix.count("\r\n") if "\r" in prefix else 0
    return prefix.count("\n") + returns


def _only_line_feeds(text: str) -> bool:
    """Return whether every line ends with `\\n`, be it after a `\\r` or not."""
    return "\r" not in text or text.count("\r") == text.count("\r\n")
