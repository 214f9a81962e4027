"""The open documents, edited where LSP says.

pygls splits text with `str.splitlines`, which also breaks at form feeds, `\\x85`, `\\u2028` and others; LSP
knows `\\n`, `\\r\\n` and `\\r` alone. A file with a form feed (CPython's own sources have them) would be edited
in the wrong place from there on. So documents here find positions with `cursor.offset_at`. Halves of surrogate
pairs, which JSON can carry and UTF-8 can't, are replaced at this edge. Knows nothing of suggestions.
"""

from __future__ import annotations

from urllib.parse import unquote

from lsprotocol import types
from pygls.workspace import TextDocument, Workspace

from codegen_lsp.lsp.code.positions import offset_at
from codegen_lsp.wire.client import clean


class Document(TextDocument):
    """A text document whose incremental changes land where the client made them."""

    last_edit: int | None = None
    """Offset just after the last change, in characters: the likeliest place of a cursor nobody told of."""

    @property
    def source(self) -> str:
        """The text as the client sent it; never read from the disk."""
        return self._source or ""

    def apply_change(self, change: types.TextDocumentContentChangeEvent) -> None:
        """Apply one change: of a range (clamped to the text), or of the whole text."""
        if not isinstance(change, types.TextDocumentContentChangePartial):
            self._source = clean(change.text)
            self.last_edit = None
            return
        source = self.source
        start = self._offset(source, change.range.start)
        end = max(start, self._offset(source, change.range.end))
        self._source = source[:start] + clean(change.text) + source[end:]
        self.last_edit = start + len(change.text)

    def _offset(self, source: str, position: types.Position) -> int:
        encoding = types.PositionEncodingKind(self.position_codec.encoding).value
        return offset_at(source, position.line, position.character, encoding)[0]


class Documents(Workspace):
    """The workspace, made of `Document`s."""

    @property
    def encoding(self) -> str:
        """The negotiated position encoding: `utf-8`, `utf-16` or `utf-32`."""
        return types.PositionEncodingKind(self.position_encoding).value

    def find(self, uri: str) -> Document | None:
        """The open document (or notebook cell) with this URI, None where there is none."""
        document = self._text_documents.get(unquote(uri))
        return document if isinstance(document, Document) else None

    def _create_text_document(
        self,
        doc_uri: str,
        source: str | None = None,
        version: int | None = None,
        language_id: str | None = None,
    ) -> Document:
        return Document(
            doc_uri,
            source=clean(source or ""),
            version=version,
            language_id=language_id,
            sync_kind=self._sync_kind,
            position_codec=self._position_codec,
        )
