"""Parse half-typed code and count its syntax errors.

Knows tree-sitter, whose grammars are imported on first use, and that its offsets are bytes. A language
without a grammar has no errors.
"""

from __future__ import annotations

import importlib
import re
import time
from functools import cache, lru_cache
from importlib import util

from tree_sitter import Language, Parser, Point, Tree

from codegen_lsp.lsp.code.languages import GRAMMARS, LANGUAGES

DEADLINE = 0.2
"""Seconds of processor time that a parse may take."""
_CHUNK = 64 * 1024
_ANGLES = re.compile(rb"<<=?|<=|>=|->|[<>]")
MAX_OPEN_ANGLES = 500
"""Maximum number of `<` without their `>`; each may begin a list of type arguments."""
_WITH_TYPE_ARGUMENTS = frozenset(["cpp", "java"])
_LEVELS = re.compile(rb"[=!<>]=|[=;,{}()\[\]]")
MAX_LEVELS = 300
"""Maximum number of assignments and brackets that are open in one statement."""
_WITH_SLOW_LEVELS = frozenset(["c", "java"])
FUNCTIONS = frozenset(
    [
        "function_definition",
        "function_declaration",
        "generator_function_declaration",
        "method_declaration",
        "constructor_declaration",
        "method_definition",
        "arrow_function",
        "function_expression",
    ]
)


@cache
def supported(language: str) -> bool:
    """Return whether a grammar for a language id is installed."""
    return language in GRAMMARS and util.find_spec(GRAMMARS[language]) is not None


def parse(language: str, data: bytes) -> Tree | None:
    """Return the tree of UTF-8 text; None for a language without a grammar, or if parsing takes too long.

    Some texts take a parser time that grows with their square (`/* /* /* …` in C), and it holds the GIL: every
    parse has a deadline. At the end of a text the deadline is not looked at, and open `<` (`a<a.a<a.…` in C++) and
    unfinished assignments and calls (`x=>x=>…` in C) take a time there that grows with the square of their number, so
    those numbers are limited.
    """
    grammar = _grammar(language)
    if grammar is None or _has_too_many_open(language, data):
        return None
    end = time.thread_time() + DEADLINE

    def is_late(_offset: int, _has_error: bool) -> bool:
        return time.thread_time() > end

    def chunk(offset: int, _point: Point) -> bytes:
        return data[offset : offset + _CHUNK]

    try:
        return Parser(grammar).parse(chunk, progress_callback=is_late)
    except ValueError:
        return None  # the deadline passed


def _has_too_many_open(language: str, data: bytes) -> bool:
    return (language in _WITH_TYPE_ARGUMENTS and _has_too_many_angles(data)) or (
        language in _WITH_SLOW_LEVELS and _has_too_many_levels(data)
    )


def _has_too_many_levels(data: bytes) -> bool:
    """Return whether more than `MAX_LEVELS` of `=`, `(` and `[` are open in one statement of a text."""
    if sum(map(data.count, (b"=", b"(", b"["))) <= MAX_LEVELS:
        return False
    assigned = opened = 0
    for match in _LEVELS.finditer(data):
        match match[0]:
            case b"=":
                assigned += 1
            case b"(" | b"[":
                opened += 1
            case b")" | b"]":
                opened = max(0, opened - 1)
            case b",":
                assigned = 0
            case b";" | b"{" | b"}":
                assigned = opened = 0
        if assigned + opened > MAX_LEVELS:
            return True
    return False


def _has_too_many_angles(data: bytes) -> bool:
    """Return whether more than `MAX_OPEN_ANGLES` of `<` are open somewhere in a text."""
    if data.count(b"<") <= MAX_OPEN_ANGLES:
        return False
    opened = 0
    for match in _ANGLES.finditer(data):
        if match[0] == b"<":
            opened += 1
            if opened > MAX_OPEN_ANGLES:
                return True
        elif match[0] == b">" and opened:
            opened -= 1
    return False


@cache
def _grammar(language: str) -> Language | None:
    if not supported(language):
        return None
    dialect = LANGUAGES[language].dialect or "language"
    return Language(getattr(importlib.import_module(GRAMMARS[language]), dialect)())


def encode(text: str) -> bytes:
    """Return the UTF-8 bytes of any text that an editor may send, lone surrogates included."""
    return text.encode("utf-8", "surrogatepass")


def decode(data: bytes) -> str:
    """Return the text of UTF-8 cut at a node's edges."""
    return data.decode("utf-8", "replace")


@lru_cache(maxsize=256)
def error_count(language: str, text: str) -> int:
    """Return the number of errors and missing tokens in a text; 0 for a language without a grammar."""
    tree = parse(language, encode(text))
    if tree is None or not tree.root_node.has_error:
        return 0
    count, todo = 0, [tree.root_node]
    while todo:
        node = todo.pop()
        count += node.is_error or node.is_missing
        todo.extend(c for c in node.children if c.has_error or c.is_missing)
    return count
