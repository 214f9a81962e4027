"""Choose a prompt's window: the last part of the prefix that fits, cut so that its start rarely moves.

The start moves in steps of about a quarter of the window, at fixed offsets of the
document, so that it is the same for hundreds of keystrokes and the engine's prefix cache holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.lexed_cursor import frames_before
from codegen_lsp.lsp.prompts.token_counter import TokenCounter

_CHARACTERS_PER_TOKEN = 3
_MOST_PER_TOKEN = 16
"""Maximum number of characters per token of the budget that are looked at."""
_SMALLEST_STEP = 64
_LONE_RETURN = re.compile(r"\r(?!\n)")
_DEFINITION = re.compile(r"^[ \t]*(?:async def|def|class)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the prefix from `start` (characters) to the cursor."""

    start: int
    tokens: int


def whole(prefix: str, budget: int, count: TokenCounter) -> Window | None:
    """Return the whole prefix, if it fits."""
    if len(prefix) > budget * _MOST_PER_TOKEN:
        return None
    tokens = count(lines.normalize(prefix))
    return Window(0, tokens) if tokens <= budget else None


def cut(prefix: str, budget: int, count: TokenCounter) -> Window:
    """Return the longest window that starts at a line and on the grid, and has no more than `budget` tokens.

    A line that is longer than the budget by itself is cut within.
    """
    starts, sums = _line_starts(prefix, budget, count)
    if not starts:
        return _within_line(prefix, budget, count)
    tightest = starts[-1]
    start = tightest
    step = 1 << max(0, (budget * _CHARACTERS_PER_TOKEN // 4).bit_length() - 1)
    while step >= _SMALLEST_STEP:
        grid = -(-tightest // step) * step
        start = next((s for s in reversed(starts) if s >= grid), starts[0])
        if start - tightest <= (len(prefix) - tightest) // 2:
            break
        step, start = step // 2, tightest
    return Window(start, sums[starts.index(start)])


def extended(prefix: str, window: Window, start: int, budget: int, count: TokenCounter) -> Window:
    """Return the window extended to `start`, or as far as the budget allows, unless it starts there already."""
    if start >= window.start:
        return window
    tokens = count(lines.normalize(prefix[start:]))
    return Window(start, tokens) if tokens <= budget else cut(prefix, budget, count)


def after_string(prefix: str, window: Window, count: TokenCounter) -> Window:
    """Return the window without the Python docstring that it starts in, if that takes less than half of it."""
    frames = frames_before(prefix[: window.start], "python")
    quote = frames[-1].text if frames and frames[-1].kind == "string" else ""
    end = prefix.find(quote, window.start) if len(quote) == 3 else -1
    start = prefix.find("\n", end) + 1 if end >= 0 else 0
    if not start or start - window.start > (len(prefix) - window.start) // 2:
        return window
    return Window(start, count(lines.normalize(prefix[start:])))


def specification_start(prefix: str, language: str) -> int:
    """Return the offset at which the docstring, comment and signature right above the cursor start.

    `x = 1␤def f():␤    \"\"\"Doc.\"\"\"␤    ‸` gives the offset of `def`. Without them it is the prefix's length.
    """
    end = prefix.rfind("\n") + 1
    end = max(end, prefix.rfind("\r", end) + 1)
    reach = prefix[max(0, end - 16 * 1024) : end]
    base = end - len(reach)
    body = reach.rstrip()
    quote = body[-3:]
    if language == "python" and quote in ('"""', "'''"):
        opening = body.rfind(quote, 0, -3)
        if opening < 0:
            return len(prefix)
        signature = list(_DEFINITION.finditer(body, 0, opening))
        return base + (signature[-1].start() if signature else body.rfind("\n", 0, opening) + 1)
    above = body.split("\n")
    start = len(body)
    if above and lines.opens_block(above[-1].rstrip("\r"), language):
        start -= len(above.pop()) + 1
    while above and lines.is_comment(above[-1], language):
        start -= len(above.pop()) + 1
    return base + max(0, start + 1) if start < len(body) else len(prefix)


def _line_starts(prefix: str, budget: int, count: TokenCounter) -> tuple[list[int], list[int]]:
    """Return starts of the lines that fit, nearest the cursor first, and the tokens from each to the cursor."""
    reach = max(0, len(prefix) - budget * _MOST_PER_TOKEN)
    tail = _LONE_RETURN.sub("\n", prefix[reach:]) if "\r" in prefix[reach:] else prefix[reach:]
    parts = tail.split("\n")
    starts: list[int] = []
    sums: list[int] = []
    position, tokens = len(prefix) + 1, 0
    for index in range(len(parts) - 1, -1, -1):
        part = parts[index]
        position -= len(part) + 1
        if index == 0 and reach:
            break  # perhaps not the whole line
        ending = "" if index == len(parts) - 1 else "\n"
        tokens += count.line(part.rstrip("\r") + ending) if part or ending else 0
        if tokens > budget:
            break
        starts.append(position)
        sums.append(tokens)
    return starts, sums


def _within_line(prefix: str, budget: int, count: TokenCounter) -> Window:
    """Return the end of a line that is too long by itself, cut on the grid; found in a few guesses."""
    size = min(len(prefix), budget * _CHARACTERS_PER_TOKEN)
    while size and (tokens := count.exact(lines.normalize(prefix[-size:]))) > budget:
        size = min(size - 1, size * budget * 9 // (tokens * 10))
    step = 1 << (max(1, size // 4).bit_length() - 1)
    start = min(-(-(len(prefix) - size) // step) * step, len(prefix))
    return Window(start, count.exact(lines.normalize(prefix[start:])))
