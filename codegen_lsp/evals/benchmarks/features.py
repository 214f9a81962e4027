"""Features of code, from an engine's `/v1/embeddings`: of files for other programs, and of functions to find like ones.

Knows how functions are found in files (the language server's syntax trees) and how near two vectors are. The vectors of
a model of this kind share one large direction; it is taken out before two are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from codegen_lsp.evals.harness.records import DataError
from codegen_lsp.headless_editor import LANGUAGES, language_of

MAX_CHARACTERS = 6000
"""Of a text, from its start, that is embedded: what fits into 2,048 tokens in any language."""
BATCH = 16
SKIPPED = {"node_modules", "venv", ".venv", "__pycache__", "build", "dist", "target", "site-packages"}


CLASSES = frozenset(["class_definition", "class_declaration", "class_specifier", "struct_specifier"])


class Embedder(Protocol):
    """The part of `client.HttpEngine` that is needed."""

    async def embeddings(self, texts: Sequence[str], **options: Any) -> list[list[float]]:
        """A vector a text."""
        ...


@dataclass(frozen=True)
class Function:
    """A function or class of a workspace."""

    path: Path
    name: str
    line: int
    """1-based, of its first line."""
    end: int
    """1-based, of its last line."""
    text: str


async def embed(engine: Embedder, texts: Sequence[str], progress: Any, **options: Any) -> list[list[float]]:
    """A vector for each text, a few texts a request."""
    vectors: list[list[float]] = []
    for start in range(0, len(texts), BATCH):
        part = [text[:MAX_CHARACTERS] for text in texts[start : start + BATCH]]
        vectors += await engine.embeddings(part, **options)
        progress(len(vectors), len(texts))
    return vectors


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        DataError: it is missing, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"can't read {path}: {error}") from error


def read_text_or_nothing(path: Path) -> str:
    """A file's text; nothing of a file in the workspace that can't be read, which is no reason to stop."""
    try:
        return read_text(path)
    except DataError:
        return ""


def source_files(root: Path) -> Iterator[Path]:
    """The source files of a workspace, in order, without hidden and generated folders."""
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or path.name in SKIPPED or path.is_symlink():
            continue
        if path.is_dir():
            yield from source_files(path)
        elif path.suffix in LANGUAGES:
            yield path


def functions(path: Path, text: str) -> list[Function]:
    """The functions and classes in a file that parsers know, outer ones before those inside them."""
    from codegen_lsp.lsp.code import syntax

    data = syntax.encode(text)
    tree = syntax.parse(language_of(path), data)
    found: list[Function] = []
    todo = [tree.root_node] if tree is not None else []
    while todo:
        node = todo.pop()
        todo += reversed(node.children)
        name = node.child_by_field_name("name") or node.child_by_field_name("declarator")
        if node.type not in syntax.FUNCTIONS | CLASSES or name is None:
            continue
        body = syntax.decode(data[node.start_byte : node.end_byte])
        title = syntax.decode(data[name.start_byte : name.end_byte]).split("(")[0]
        found.append(Function(path, title, node.start_point[0] + 1, node.end_point[0] + 1, body))
    return found


def function_at(found: Sequence[Function], line: int) -> int | None:
    """The index of the innermost function around a 1-based line, or None."""
    around = [i for i, f in enumerate(found) if f.line <= line <= f.end]
    return min(around, key=lambda i: found[i].end - found[i].line) if around else None


def nearest(vectors: Sequence[Sequence[float]], wanted: int, count: int) -> list[tuple[int, float]]:
    """The vectors nearest to one of them, as (index, cosine of the angle), nearest first, itself left out."""
    size = len(vectors)
    mean = [math.fsum(column) / size for column in zip(*vectors, strict=True)]
    centred = [_unit([x - m for x, m in zip(vector, mean, strict=True)]) for vector in vectors]
    own = centred[wanted]
    near = [
        (index, math.fsum(a * b for a, b in zip(own, other, strict=True)))
        for index, other in enumerate(centred)
        if index != wanted
    ]
    return sorted(near, key=lambda pair: (-pair[1], pair[0]))[:count]


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(math.fsum(x * x for x in vector))
    return [x / length for x in vector] if length else vector
