"""Reads the golden cases: documents with a marked cursor, and what should come of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from codegen_lsp.lsp.code.cursor import Cursor, at_offset
from codegen_lsp.lsp.code.site import Site

FOLDER = Path(__file__).parents[1] / "golden"
CURSOR = "‸"
_VISIBLE = str.maketrans({"→": "\t", "␣": " ", "␍": "\r"})
_TITLE = re.compile(r"^=== (.*)\n", re.MULTILINE)
_SECTION = re.compile(r"^--- ([a-z -]+?)\n", re.MULTILINE)


@dataclass(frozen=True)
class GoldenCase:
    """One case; sections of the same name are kept in order."""

    title: str
    options: dict[str, str]
    sections: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        return [text for key, text in self.sections if key == name]

    def one(self, name: str) -> str:
        (text,) = self.all(name)
        return text

    def has(self, name: str) -> bool:
        return bool(self.all(name))

    def cursor(self, name: str = "document", **more: str) -> Cursor:
        return cursor(self.one(name), **{"language": self.options.get("language", "python")} | more)

    def site(self, name: str = "document", **more: str) -> Site:
        return Site.of(self.cursor(name, **more))

    def __str__(self) -> str:
        return self.title


def cursor(marked: str, language: str = "python", **more: str) -> Cursor:
    """The cursor of a text that marks it."""
    assert marked.count(CURSOR) == 1, f"one cursor mark, please: {marked!r}"
    offset = marked.index(CURSOR)
    return at_offset(marked.replace(CURSOR, ""), offset, language=language, uri="file:///a", **more)  # type: ignore[arg-type]


def site(marked: str, language: str = "python", **more: str) -> Site:
    """The site of a text that marks its cursor."""
    return Site.of(cursor(marked, language, **more))


def cases(folder: str) -> list[GoldenCase]:
    """The cases of a folder, in order."""
    found = []
    for path in sorted((FOLDER / folder).glob("*.txt")):
        parts = _TITLE.split(path.read_text(encoding="utf-8").rstrip("\n") + "\n")
        found += [_case(f"{path.stem}: {t}", b) for t, b in zip(parts[1::2], parts[2::2], strict=True)]
    assert found, f"no cases in {folder}"
    return found


def _case(title: str, body: str) -> GoldenCase:
    head, *parts = _SECTION.split(body)
    options = dict(line.split(": ", 1) for line in head.split("\n") if line.strip())
    sections = []
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        last = text is parts[-1]
        trimmed = text.removesuffix("\n")
        trimmed = trimmed.removesuffix("\n") if last and options.get("blank") else trimmed
        sections.append((name, trimmed.translate(_VISIBLE)))
    return GoldenCase(title, options, tuple(sections))
