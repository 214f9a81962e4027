"""A second language server, for the tests that run codegen-lsp next to another one."""

from __future__ import annotations

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer

server = LanguageServer("other", "1")


@server.feature(lsp.TEXT_DOCUMENT_COMPLETION)
def complete(_params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
    """Return two names that no model would write."""
    return [lsp.CompletionItem(label="from_the_other_server"), lsp.CompletionItem(label="from_there_too")]


if __name__ == "__main__":
    server.start_io()
