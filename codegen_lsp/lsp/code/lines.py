"""Looking at the lines around a cursor without splitting the document, and at what a line is.

Knows how the languages write comments, open blocks and indent. Knows no parser: what is said here holds for
half-typed lines too, and of any language at least roughly.
"""

from __future__ import annotations

import re

from codegen_lsp.lsp.code.cursor import Cursor

PAIRS = {")": "(", "]": "[", "}": "{"}
"""Each closing bracket's opening one."""

_REACH = 16 * 1024
"""Characters from the cursor that are looked at, in each direction."""

_LONG_LINE = 2000
"""Characters past which a line is data or minified, and is looked at only near the cursor."""
_COMMENTS = {
    "python": ("#",),
    "c": ("//", "/*", "*"),
    "cpp": ("//", "/*", "*"),
    "go": ("//", "/*", "*"),
    "java": ("//", "/*", "*"),
    "javascript": ("//", "/*", "*"),
    "javascriptreact": ("//", "/*", "*"),
    "typescript": ("//", "/*", "*"),
    "typescriptreact": ("//", "/*", "*"),
    "rust": ("//", "/*", "*"),
    "lua": ("--",),
    "sql": ("--",),
    "haskell": ("--",),
}
_ANY_COMMENT = ("#", "//", "/*", "--")

_BRACES = frozenset(
    [
        "c",
        "cpp",
        "go",
        "java",
        "javascript",
        "javascriptreact",
        "typescript",
        "typescriptreact",
        "rust",
        "csharp",
    ]
)

_TABS = re.compile(r"(?:^|(?<=\r)) *\t[ \t]*", re.MULTILINE)

_PYTHON_OPENER = re.compile(
    r"\s*(?:(?:async\s+)?(?:def|class|if|elif|else|for|while|with|try|except|finally|match|case)\b.*|[)\]}].*)"
    r":\s*(?:#.*)?"
)
_OTHER_OPENER = re.compile(
    r".*(?:\{|\b(?:case\b.*|default|public|private|protected)\s*:|\b(?:do|then|begin))\s*(?://.*)?"
)
CLOSERS = ")]}"
_SURELY_CODE = re.compile(r"^(?:async def|def|class|import|from) ", re.MULTILINE)
_TRIPLE = re.compile(r'"""|\'\'\'')


def normalize(text: str) -> str:
    """The text with `\\n` line endings, as models read it."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def above(cursor: Cursor) -> list[str]:
    """The lines above the cursor's, nearest last, as far as is worth looking."""
    end = len(cursor.prefix) - len(cursor.line_prefix)
    start = max(0, end - _REACH)
    return normalize(cursor.prefix[start:end]).split("\n")[1 if start else 0 : -1]


def below(cursor: Cursor) -> list[str]:
    """The lines below the cursor's, nearest first, as far as is worth looking."""
    start = len(cursor.line_suffix)
    return normalize(cursor.suffix[start : start + _REACH]).split("\n")[1:]


def leading(line: str) -> str:
    """The whitespace that a line starts with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def width(line: str, indent: str) -> int:
    """How far a line is indented, in columns; a tab goes to the next multiple of a level's width."""
    tab = len(indent) if indent.strip("\t") else 4
    return len(leading(line).expandtabs(max(tab, 1)))


def unit(indent: str) -> int:
    """The columns of one level of indentation."""
    return len(indent) if indent.strip("\t") else 4


def shows_spaces(cursor: Cursor) -> bool:
    """Whether a model is shown spaces where the document is indented by tabs: nearly all Python that models have read
    has spaces."""
    return cursor.language == "python" and cursor.indent.startswith("\t")


def with_spaces(text: str) -> str:
    """The text with spaces for the tabs that indent its lines, four columns each."""
    return _TABS.sub(lambda found: found[0].expandtabs(4), text)


def is_comment(line: str, language: str) -> bool:
    """Whether a line holds nothing but a comment, or a part of one."""
    text = line.strip()
    if text.startswith("#!") or (language in ("c", "cpp") and text.startswith("#")):
        return False
    return text.startswith(_COMMENTS.get(language, _ANY_COMMENT))


def opens_block(line: str, language: str) -> bool:
    """Whether a line's end opens a block: `def f():`, `for (...) {`."""
    if len(line) > _LONG_LINE:
        return line.endswith("{")
    if language == "python":
        return _PYTHON_OPENER.fullmatch(line) is not None
    if _OTHER_OPENER.fullmatch(line):
        return True
    return language not in _BRACES and _PYTHON_OPENER.fullmatch(line) is not None


def closes_docstring(line: str) -> bool:
    """Whether a line ends with the quotes that end a docstring."""
    return line.rstrip().endswith(('"""', "'''"))


def uses_braces(language: str) -> bool:
    """Whether blocks of a language are closed by a brace rather than by a dedent."""
    return language in _BRACES


def open_string(cursor: Cursor) -> str:
    """The quote that opened the string that the cursor is in; empty outside of strings and in comments."""
    if cursor.language == "python" and (triple := open_triple(cursor.prefix)):
        return triple
    found = scan(cursor.line_prefix, cursor.language)
    return found if found != "comment" else ""


def in_comment(cursor: Cursor) -> bool:
    """Whether a comment of the cursor's line starts before the cursor."""
    return scan(cursor.line_prefix, cursor.language) == "comment"


def scan(line: str, language: str) -> str:
    """What is open at a line's end, read from its start: a quote, `comment`, or nothing."""
    line = line[-_LONG_LINE:]
    marks = tuple(m for m in _COMMENTS.get(language, _ANY_COMMENT) if m != "*")
    quote = ""
    i = 0
    while i < len(line):
        char = line[i]
        if quote:
            if char == "\\":
                i += 1
            elif char == quote:
                quote = ""
        elif line.startswith(marks, i):
            return "comment"
        elif char in "\"'`":
            quote = char
        i += 1
    return quote


def open_triple(prefix: str) -> str:
    """The triple quote of the string that a Python text ends in, or nothing; a guess in very long texts."""
    start = max(0, len(prefix) - 4 * _REACH)
    if start:  # from a line that is code for certain, or nearly
        found = _SURELY_CODE.search(prefix, start)
        start = found.start() if found else start
    quote = ""
    for match in _TRIPLE.finditer(prefix, start):
        quote = match.group() if not quote else "" if quote == match.group() else quote
    return quote
