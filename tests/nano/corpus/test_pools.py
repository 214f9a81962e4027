"""The pool and the group of a file."""

from __future__ import annotations

import pytest

from codegen_lsp.nano.corpus.pools import group_of
from codegen_lsp.nano.corpus.sources import STDLIB

TYPED = "def f(x: int) -> int: ...\n"


@pytest.mark.parametrize(
    ("distribution", "path", "text", "name", "pool"),
    [
        ("openai", "openai/types/chat.py", TYPED, "openai-generated", "focus"),
        ("openai", "openai/tests/test_chat.py", TYPED, "openai-tests", "broad"),
        ("openai", "openai/_client.py", "x = 1\n", "openai", "broad"),
        ("small", "small/main.py", TYPED, "small", "core"),
        ("small", "small/conftest.py", TYPED, "small-tests", "broad"),
        (STDLIB, "asyncio/base.py", "x = 1\n", "stdlib", "focus"),
        (STDLIB, "html/parser.py", "x = 1\n", "stdlib", "focus"),
        (STDLIB, "shlex.py", "x = 1\n", "stdlib", "focus"),
        (STDLIB, "ctypes/util.py", "x = 1\n", "stdlib", "broad"),
        (STDLIB, "test/test_json.py", "x = 1\n", "stdlib-tests", "broad"),
    ],
)
def test_a_file_has_a_group_and_a_pool(distribution: str, path: str, text: str, name: str, pool: str) -> None:
    rule = group_of(distribution, path, text)
    assert (rule.name, rule.pool) == (name, pool)
