"""Functions of a workspace, and which are alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from codegen_lsp.evals.benchmarks import features

PYTHON = '''import os


def add(a, b):
    """Sum."""
    return a + b


class Stack:
    def push(self, item):
        self.items.append(item)
'''


def test_finds_functions_and_classes() -> None:
    found = features.functions(Path("a.py"), PYTHON)
    assert [(f.name, f.line, f.end) for f in found] == [("add", 4, 6), ("Stack", 9, 11), ("push", 10, 11)]
    assert found[0].text.startswith("def add(a, b):")


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("a.go", "package p\nfunc Add(a int) int {\n\treturn a\n}\n", ["Add"]),
        ("A.java", "class A {\n  int add(int a) { return a; }\n}\n", ["A", "add"]),
        ("a.js", "function add(a) { return a }\nclass B { push() {} }\n", ["add", "B", "push"]),
        ("a.c", "int add(int a) {\n  return a;\n}\n", ["add"]),
        ("a.py", "def whole():\n    pass\n\ndef broken(:\n", ["whole", "broken"]),
        ("a.txt", "def add(): pass", []),
        ("a.py", "", []),
        ("a.py", "def é(日本):\r\n    '😀'\r\n", ["é"]),
    ],
)
def test_other_languages_and_odd_files(name: str, text: str, names: list[str]) -> None:
    assert [f.name for f in features.functions(Path(name), text)] == names


def test_function_at_is_the_innermost() -> None:
    found = features.functions(Path("a.py"), PYTHON)
    assert [features.function_at(found, line) for line in (1, 4, 6, 9, 11, 99)] == [None, 0, 0, 1, 2, None]


def test_nearest_minds_direction_not_what_all_share() -> None:
    shared = 100.0
    vectors = [[shared + x, shared + y] for x, y in ((1, 0), (0.9, 0.1), (-1, 0), (0, 1), (0, -1))]
    found = features.nearest(vectors, 0, 3)
    assert found[0][0] == 1
    assert found[0][1] > 0.9
    assert len(found) == 3
    assert features.nearest([[1.0, 2.0], [1.0, 2.0]], 0, 5) == [(1, 0.0)]


class FakeEmbedder:
    def __init__(self) -> None:
        self.asked: list[tuple[int, dict[str, Any]]] = []

    async def embeddings(self, texts: Sequence[str], **options: Any) -> list[list[float]]:
        self.asked.append((len(texts), options))
        return [[float(len(t))] for t in texts]


async def test_embeds_a_few_at_once_and_cuts_long_texts() -> None:
    engine, told = FakeEmbedder(), []
    texts = ["x" * n for n in range(35)] + ["x" * 10_000]
    vectors = await features.embed(engine, texts, lambda *p: told.append(p), layer=-2)
    assert vectors[34] == [34.0]
    assert vectors[35] == [float(features.MAX_CHARACTERS)]
    assert [count for count, _ in engine.asked] == [16, 16, 4]
    assert engine.asked[0][1] == {"layer": -2}
    assert told[-1] == (36, 36)
