"""Gather what other files say about a document: a snapshot and a bounded reading in, pieces and names out."""

from __future__ import annotations

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.context.files import BoundedReading
from codegen_lsp.lsp.context.imported import ImportedNames, Importer
from codegen_lsp.lsp.context.similar import RecentFile, similar_passages
from codegen_lsp.lsp.context.snapshot import DocumentSnapshot
from codegen_lsp.lsp.prompts.others import NO_FILES, OtherFiles

LINES_NEAR = (40, 20)
"""Number of lines above and below the cursor whose words count as near it."""
MAX_TEXT = 512 * 1024
"""Characters of the longest document whose imports are followed."""


def gather(
    snapshot: DocumentSnapshot, reading: BoundedReading, *, imports: bool = True, similar: bool = False
) -> OtherFiles:
    """Return what other files say about a document; nothing for a file outside of the workspace folders."""
    real = reading.files.real(snapshot.path)
    place = reading.files.place(real) if real is not None else None
    if real is None or place is None or len(snapshot.text) > MAX_TEXT:
        return NO_FILES
    text = lines.normalize(snapshot.text)
    near = _near(text, snapshot.line)
    shown = reading.files.shown
    pieces, names = NO_FILES.pieces, NO_FILES.names
    if imports:
        line = min(snapshot.line, LINES_NEAR[0])
        importer = Importer(snapshot.language, text, near, line, real, place[0])
        pieces, names = ImportedNames(importer, reading, shown).follow()
    if similar:
        recent = [(file, reading.find(file)) for file in snapshot.recent]
        files = [
            RecentFile(shown(file), content)
            for _, file in recent
            if file is not None and file != real and (content := reading.text(file))
        ]
        pieces += similar_passages(near, text, files)
    return OtherFiles(pieces, names, shown(real))


def _near(text: str, line: int) -> str:
    above, below = LINES_NEAR
    return "\n".join(text.split("\n")[max(0, line - above) : line + below + 1])
