"""Find the text after the cursor that a continuation repeats.

That is mostly brackets and quotes, which editors close automatically. The repeated text is removed from the
continuation if it is at its end, so that the edit only inserts; if the continuation goes on past it, the edit
replaces the text after the cursor:

    print(‸)  + `"x")`        →  inserts `"x"`
    x = foo(‸) + `a) + 1`     →  inserts `a) + 1` in place of `)`
"""

from __future__ import annotations

from codegen_lsp.lsp.code.lexed_cursor import closing_literal
from codegen_lsp.lsp.code.lexer import PAIRS, tokens
from codegen_lsp.lsp.code.site import Site

_REACH = 1000
"""Characters after the cursor that are looked at."""
_QUOTES = "\"'`"
_ENDINGS = ":;, {"
"""What may follow a closer and is written again with it."""
_SHORTEST = 3
"""Characters of text after the cursor that count as rewritten when they come up within the continuation."""


def fit(text: str, site: Site) -> tuple[str, int]:
    """Return (the text to insert, how many characters after the cursor it takes the place of)."""
    after = site.after[:_REACH]
    if not after.strip() or not text:
        return text, 0
    covered, end = _covered(text, after, site)
    if covered == len(text):
        end = len(text)
    if not covered:
        return text, 0
    if end == len(text) and text.endswith(after[:covered]):
        return text[: len(text) - covered], 0
    return text, covered


def _covered(text: str, after: str, site: Site) -> tuple[int, int]:
    """Return (characters of `after` that the text writes again, where it has written the last of them)."""
    content = after.rstrip()
    closed, end = _closers(text, content, site)
    closes = content[0] in PAIRS or content[0] in _QUOTES
    if text.endswith(content) and (closed or not closes):
        return len(content), len(text)
    if closed or closes:
        return closed, end
    start = text.find(content)
    if start >= 0 and len(content.strip()) >= _SHORTEST:
        return len(content), start + len(content)
    for size in range(min(len(content) - 1, len(text)), 0, -1):
        splits_word = content[size - 1].isalnum() and content[size].isalnum()
        if text.endswith(content[:size]) and content[:size].strip() and not splits_word:
            return size, len(text)
    return 0, 0


def _closers(text: str, after: str, site: Site) -> tuple[int, int]:
    """Return what `_covered` does, for brackets and quotes that are open at the cursor and closed by the text."""
    position = end = 0
    frames = list(site.frames)
    level = len(frames)
    for token in tokens(text, site.cursor.language, frames):
        if token.kind == "close" and token.depth < 0:
            closed = [token.text]  # it closes what was opened before all that was read
        elif len(frames) < level:
            closed = [closing_literal(frame) for frame in reversed(site.frames[len(frames) : level])]
            level = len(frames)
        else:
            continue
        for literal in closed:
            gap = len(after) - position - len(after[position:].lstrip()) if literal.strip() else 0
            if not literal or not after.startswith(literal, position + gap):
                return position, end
            position, end = position + gap + len(literal), token.end
        while end < len(text) and text[end] in _ENDINGS and after.startswith(text[end], position):
            position, end = position + 1, end + 1  # the colon of `):`
    return position, end
