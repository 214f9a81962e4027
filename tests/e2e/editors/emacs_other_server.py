"""A language server that is not codegen-lsp, for the tests that have another one beside it."""

from __future__ import annotations

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer

server = LanguageServer("other", "1")


@server.feature(lsp.TEXT_DOCUMENT_COMPLETION)
def complete(_params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
    """Two names that no model would come up with."""
    return [lsp.CompletionItem(label="from_the_other_server"), lsp.CompletionItem(label="from_there_too")]


if __name__ == "__main__":
    server.start_io()
