"""The open documents, edited where LSP says.

pygls splits text with `str.splitlines`, which also breaks at form feeds, `\\x85`, `\\u2028` and others; LSP has
`\\n`, `\\r\\n` and `\\r` alone. A file with a form feed (CPython's own sources have them) would be edited in the
wrong place from there on, so positions are found with `positions.offset_at`. Halves of surrogate pairs, which JSON
can carry and UTF-8 can't, are replaced at this edge. Knows nothing of suggestions.
"""

from __future__ import annotations

from collections import UserDict
from typing import Any, TypeVar

from lsprotocol import types
from pygls.workspace import TextDocument, Workspace

from codegen_lsp.lsp.code.positions import offset_at
from codegen_lsp.lsp.uris import canonical, fold_drive
from codegen_lsp.wire.surrogates import clean

UNVERSIONED = -(2**31)
"""The version that stands for a missing one; no client counts from there."""

V = TypeVar("V")


class Document(TextDocument):
    """A text document whose incremental changes land where the client made them."""

    last_edit: int | None = None
    """Offset just after the last change, in characters: the likeliest place of the cursor."""

    is_versioned: bool = True
    """Whether the client counts the versions of this document; otherwise they are counted here."""

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


class _ByUri(UserDict[str, V]):
    """A dictionary by unquoted URI, in which drive letters have no case."""

    def __getitem__(self, uri: str) -> V:
        return super().__getitem__(fold_drive(uri))

    def __setitem__(self, uri: str, value: V) -> None:
        super().__setitem__(fold_drive(uri), value)

    def __delitem__(self, uri: str) -> None:
        super().__delitem__(fold_drive(uri))

    def __contains__(self, uri: object) -> bool:
        return isinstance(uri, str) and super().__contains__(fold_drive(uri))


class Documents(Workspace):
    """The workspace, made of `Document`s."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._text_documents = _ByUri()  # type: ignore[assignment]
        self._notebook_documents = _ByUri()  # type: ignore[assignment]
        self._cell_in_notebook = _ByUri()  # type: ignore[assignment]

    @property
    def encoding(self) -> str:
        """The negotiated position encoding: `utf-8`, `utf-16` or `utf-32`."""
        return types.PositionEncodingKind(self.position_encoding).value

    def find(self, uri: str) -> Document | None:
        """Return the open document (or notebook cell) with this URI, None if there is none."""
        document = self._text_documents.get(canonical(uri))
        return document if isinstance(document, Document) else None

    def all(self) -> list[Document]:
        """Return the open documents, cells of notebooks among them."""
        return [document for document in self._text_documents.values() if isinstance(document, Document)]

    def update_text_document(
        self, text_doc: types.VersionedTextDocumentIdentifier, change: types.TextDocumentContentChangeEvent
    ) -> None:
        """Apply a change; without a version from the client, the versions are counted here."""
        document = self.find(text_doc.uri)
        previous = document.version if document is not None else None
        super().update_text_document(text_doc, change)
        if document is not None and text_doc.version == UNVERSIONED:
            document.is_versioned = False
            document.version = (previous or 0) + 1

    def _create_text_document(
        self,
        doc_uri: str,
        source: str | None = None,
        version: int | None = None,
        language_id: str | None = None,
    ) -> Document:
        document = Document(
            doc_uri,
            source=clean(source or ""),
            version=0 if version == UNVERSIONED else version,
            language_id=language_id,
            sync_kind=self._sync_kind,
            position_codec=self._position_codec,
        )
        document.is_versioned = version != UNVERSIONED
        return document
