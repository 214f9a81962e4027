"""Plain English: words that leave a thing unnamed, and idioms of other languages, stay out of what people read.

Read are the comments and strings of the package, the text of the editors' files, and the documents.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

INSTEAD = {
    r"\b(?:nobody|somebody)\b": "name the person or the program",
    r"\bwhoever\b": "name the person or the program",
    r"\bof (?:ours|theirs)\b": "name the thing",
    r"\belsewhere\b": "name the place",
    r"(?<!there )\bis no (?!longer|more\b)": "is not a",
    r"\bat most of a\b": "maximum number of …",
    r"\bso long\b": "say how long, in seconds",
    r"\bso many\b": "say how many",
    r"\bwhat stands\b": "name the thing",
}
"""Patterns that the texts must not have, and what to write instead."""

ALLOWED: dict[str, tuple[str, ...]] = {
    "SECURITY.md": ("`nobody`",),
    "codegen_lsp/evals/sandbox/confined/__main__.py": ("`nobody`",),
    "codegen_lsp/evals/sandbox/confined/namespaces.py": ("`nobody`", "NOBODY"),
}
"""Texts by file that make a line with such a word acceptable: names and quotations."""

SUFFIXES = {".md", ".ts", ".lua", ".el", ".txt", ".vim", ".json", ".yml", ".toml", ".sh"}
SKIPPED = {"node_modules", "package-lock.json", "model", "held_out.json", "dist", "out"}


def files() -> Iterator[Path]:
    """Every file that has text for people."""
    yield from sorted(ROOT.glob("*.md"))
    for folder in ("codegen_lsp", "editors", "docs", "examples", ".github", ".ci"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES | {".py"} and not SKIPPED & set(path.relative_to(ROOT).parts):
                yield path


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers; of Python only comments and strings."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), 1)
        return
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            yield from enumerate(token.string.splitlines(), token.start[0])


@pytest.mark.parametrize("pattern", INSTEAD)
def test_texts_say_what_they_mean(pattern: str) -> None:
    found = []
    for path in files():
        name = str(path.relative_to(ROOT))
        for number, line in texts(path):
            if re.search(pattern, line, re.IGNORECASE) and not any(
                text in line for text in ALLOWED.get(name, ())
            ):
                found.append(f"{name}:{number}: {line.strip()}")
    assert found == [], f"instead: {INSTEAD[pattern]}"
