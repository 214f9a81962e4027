"""Gather what other files say about a document: a snapshot and a bounded reading in, pieces and names out."""

from __future__ import annotations

from collections.abc import Sequence

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.context.files import BoundedReading
from codegen_lsp.lsp.context.imported import ImportedNames, Importer
from codegen_lsp.lsp.context.resolution import FileAccess
from codegen_lsp.lsp.context.similar import RecentFile, similar_passages
from codegen_lsp.lsp.context.snapshot import DocumentSnapshot
from codegen_lsp.lsp.context.types.graph import known_names
from codegen_lsp.lsp.names.known import ForeignNames, KnownNames
from codegen_lsp.lsp.prompts.others import NO_FILES, OtherFiles

LINES_NEAR = (40, 20)
"""Number of lines above and below the cursor whose words count as near it."""
LINES_UP = 2000
"""Number of lines above those in which the heads of what they are in are looked for."""
MAX_TEXT = 512 * 1024
"""Characters of the longest document whose imports are followed."""


class _NoFiles:
    """Finds no file."""

    def find(self, _path: str) -> None:
        return None

    def text(self, _real: str) -> None:
        return None

    def names(self, _folder: str) -> tuple[str, ...]:
        return ()


def gather(
    snapshot: DocumentSnapshot, reading: BoundedReading, *, imports: bool = True, similar: bool = False
) -> OtherFiles:
    """Return what other files say about a document, and what it says about its own names.

    Without `imports`, and for a file outside of the workspace folders, no file is read for the names.
    """
    if len(snapshot.text) > MAX_TEXT:
        return NO_FILES
    text = lines.normalize(snapshot.text)
    is_python = snapshot.language == "python"
    real = reading.files.real(snapshot.path)
    place = reading.files.place(real) if real is not None else None
    if real is None or place is None:
        known = known_names(snapshot.path, "", text, _NoFiles()) if is_python else KnownNames()
        return OtherFiles(names=ForeignNames(known=known))
    near, line = _near(text, snapshot.line)
    shown = reading.files.shown
    pieces, starred = NO_FILES.pieces, NO_FILES.names.starred
    if imports:
        importer = Importer(snapshot.language, text, near, line, real, place[0])
        pieces, starred = ImportedNames(importer, reading, shown).follow()
    if similar:
        recent = [(file, reading.find(file)) for file in snapshot.recent]
        files = [
            RecentFile(shown(file), content)
            for _, file in recent
            if file is not None and file != real and (content := reading.text(file))
        ]
        pieces += similar_passages(near, text, files)
    access: FileAccess = reading if imports else _NoFiles()
    known = known_names(real, place[0], text, access) if is_python else KnownNames()
    return OtherFiles(pieces, ForeignNames(starred, known), shown(real))


def _near(text: str, line: int) -> tuple[str, int]:
    """Return the lines around the cursor, below the heads of what they are in, and the cursor's line among them."""
    all_lines = text.split("\n")
    line = min(line, len(all_lines) - 1)
    above, below = LINES_NEAR
    start = max(0, line - above)
    heads = _heads(all_lines, start, line)
    return "\n".join([*heads, *all_lines[start : line + below + 1]]), len(heads) + line - start


def _heads(all_lines: Sequence[str], start: int, line: int) -> list[str]:
    """Return the heads of what the cursor is in, as far as they are above `start`, outermost first."""
    heads: list[str] = []
    indent = min((lines.columns(each) for each in all_lines[start:line] if each.strip()), default=0)
    for text in reversed(all_lines[max(0, start - LINES_UP) : start]):
        if indent == 0:
            break
        if text.strip() and lines.columns(text) < indent:
            indent = lines.columns(text)
            heads.insert(0, text)
    return heads
