"""Choose the text after the cursor that a prompt holds, for models that fill in the middle. Pure.

Which lines are taken depends only on the text below the cursor's line, so it stays the same while a line is typed.
"""

from __future__ import annotations

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.prompts.token_counter import TokenCounter

_CHARACTERS_PER_TOKEN = 16
"""Maximum number of characters per token of the budget that are looked at."""
_LONGEST_REST = 2
"""The rest of the cursor's line may take this fraction of the budget on top of it."""


def choose(site: Site, budget: int, count: TokenCounter) -> str:
    """Return the text after the cursor up to the start of a line, about `budget` tokens; empty if it is blank."""
    suffix = site.cursor.suffix
    tail = suffix[: len(site.after)]
    if budget <= 0 or not suffix.strip() or count(tail) > budget // _LONGEST_REST:
        return ""
    below = lines.normalize(suffix[len(tail) : len(tail) + budget * _CHARACTERS_PER_TOKEN])
    end = tokens = 0
    for line in below.splitlines(keepends=True):
        tokens += count.line(line)
        if tokens > budget or (not line.endswith("\n") and len(below) < len(suffix) - len(tail)):
            break
        end += len(line)
    text = tail + below[:end]
    return text if text.strip() else ""
