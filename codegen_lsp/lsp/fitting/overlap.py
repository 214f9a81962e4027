"""Where a continuation writes again what stands after the cursor already.

Knows brackets and quotes, those that editors close by themselves among them. What is written twice is taken
back from the continuation where it comes last, so that the edit only inserts; where the continuation goes on
past it, the edit takes the place of the text after the cursor.
"""

from __future__ import annotations

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.cursor import Cursor

_REACH = 1000
"""Characters after the cursor that are looked at."""
_QUOTES = "\"'`"
_ENDINGS = ":;, {"
"""What may follow a closer and is written again with it."""
_SHORTEST = 3
"""Characters of text after the cursor that count as rewritten when they come up within the continuation."""


def fit(text: str, cursor: Cursor) -> tuple[str, int]:
    """(the text to insert, how many characters after the cursor it takes the place of)."""
    after = cursor.line_suffix[:_REACH]
    if not after.strip() or not text:
        return text, 0
    covered, end = _covered(text, after, cursor)
    if covered == len(text):
        end = len(text)
    if not covered:
        return text, 0
    if end == len(text) and text.endswith(after[:covered]):
        return text[: len(text) - covered], 0
    return text, covered


def _covered(text: str, after: str, cursor: Cursor) -> tuple[int, int]:
    """(characters of `after` that the text writes again, where it has written the last of them)."""
    content = after.rstrip()
    closed, end = _closers(text, content, lines.open_string(cursor))
    closes = content[0] in lines.PAIRS or content[0] in _QUOTES
    if text.endswith(content) and (closed or not closes):
        return len(content), len(text)
    if closed or closes:
        return closed, end
    at = text.find(content)
    if at >= 0 and len(content.strip()) >= _SHORTEST:
        return len(content), at + len(content)
    for size in range(min(len(content) - 1, len(text)), 0, -1):
        splits_word = content[size - 1].isalnum() and content[size].isalnum()
        if text.endswith(content[:size]) and content[:size].strip() and not splits_word:
            return size, len(text)
    return 0, 0


def _closers(text: str, after: str, quote: str) -> tuple[int, int]:
    """As `_covered`, for the brackets and the quote that were open at the cursor and that the text closes."""
    position = end = 0
    open_: list[str] = []
    outer, around = bool(quote), ""
    if quote and after.startswith("}"):  # between the braces of an f-string or a template
        quote, around = "", quote
    i = 0
    while i < len(text):
        char = text[i]
        size = 1
        closes = False
        if quote:
            if char == "\\":
                size = 2
            elif text.startswith(quote, i):
                size, closes, outer = len(quote), outer, False
                char, quote = quote, ""
        elif position and i == end and char in _ENDINGS and after.startswith(char, position):
            closes = True  # what follows a closer on both sides: the colon of `):`
        elif char in _QUOTES:
            quote = char
        elif char in lines.PAIRS.values():
            open_.append(char)
        elif char in lines.PAIRS:
            closes = not open_ or open_.pop() != lines.PAIRS[char]
            if closes and char == "}":
                quote, around = around, ""
        if closes:
            gap = len(after) - position - len(after[position:].lstrip()) if char.strip() else 0
            if not after.startswith(char, position + gap):
                break
            position, end = position + gap + len(char), i + size
        i += size
    return position, end
