"""Features of code from an engine's `/v1/embeddings`: files for other programs, functions to find similar ones.

Functions come from the language server's syntax trees. The vectors of a decoder model share one large direction,
which is subtracted before two vectors are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from codegen_lsp.evals.harness.files import read_text_or_nothing, walk
from codegen_lsp.lsp.code.languages import EXTENSIONS, language_of

MAX_CHARACTERS = 6000
"""Characters of a text that are embedded, from its start: about 2,048 tokens of any language."""
BATCH = 16
"""Texts in one request."""
CLASSES = frozenset(["class_definition", "class_declaration", "class_specifier", "struct_specifier"])


class Embedder(Protocol):
    """The part of `HttpEngineClient` that is needed."""

    async def embeddings(self, texts: Sequence[str], **options: Any) -> list[list[float]]:
        """Return a vector for each text."""
        ...


@dataclass(frozen=True)
class Function:
    """A function or class of a workspace."""

    path: Path
    name: str
    line: int
    """Number of its first line, 1-based."""
    end: int
    """Number of its last line, 1-based."""
    text: str


async def embed(engine: Embedder, texts: Sequence[str], progress: Any, **options: Any) -> list[list[float]]:
    """Return a vector for each text, with a few texts in each request."""
    vectors: list[list[float]] = []
    for start in range(0, len(texts), BATCH):
        part = [text[:MAX_CHARACTERS] for text in texts[start : start + BATCH]]
        vectors += await engine.embeddings(part, **options)
        progress(len(vectors), len(texts))
    return vectors


def functions(path: Path, text: str) -> list[Function]:
    """Return the functions and classes in a file, outer ones before inner ones; none of a language without parser."""
    from codegen_lsp.lsp.code import syntax

    data = syntax.encode(text)
    tree = syntax.parse(language_of(path), data)
    result: list[Function] = []
    todo = [tree.root_node] if tree is not None else []
    while todo:
        node = todo.pop()
        todo += reversed(node.children)
        name = node.child_by_field_name("name") or node.child_by_field_name("declarator")
        if node.type not in syntax.FUNCTIONS | CLASSES or name is None:
            continue
        body = syntax.decode(data[node.start_byte : node.end_byte])
        title = syntax.decode(data[name.start_byte : name.end_byte]).split("(")[0]
        result.append(Function(path, title, node.start_point[0] + 1, node.end_point[0] + 1, body))
    return result


def function_at(functions: Sequence[Function], line: int) -> int | None:
    """Return the index of the innermost function around a 1-based line, or None."""
    around = [i for i, f in enumerate(functions) if f.line <= line <= f.end]
    return min(around, key=lambda i: functions[i].end - functions[i].line) if around else None


def workspace_functions(root: Path, without: Path) -> list[Function]:
    """Return the functions of all source files below a folder but one; unreadable files have none."""
    files = [file for file in walk(root) if file.suffix in EXTENSIONS and not file.samefile(without)]
    return [function for file in files for function in functions(file, read_text_or_nothing(file))]


def nearest(vectors: Sequence[Sequence[float]], target: int, count: int) -> list[tuple[int, float]]:
    """Return the vectors nearest to one of them, without itself: (index, cosine of the angle), nearest first."""
    import numpy as np

    matrix = np.asarray(vectors, dtype=float)
    centred = matrix - matrix.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    units = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
    cosines = units @ units[target]
    order = np.argsort(-cosines, kind="stable")
    return [(int(index), float(cosines[index])) for index in order if index != target][:count]
