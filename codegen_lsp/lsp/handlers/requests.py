"""What the handlers of ghost text and of the menu have in common: stale requests, refusals, the session's answer."""

from __future__ import annotations

from typing import Any

from lsprotocol import types

from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.session.language_server import CodegenServer
from codegen_lsp.lsp.suggest.request_log import Method, Outcome, Record

_WHY = {
    Reason.MISMATCH: "the selected menu entry does not match the text at the cursor",
    Reason.CANCELLED: "the request is for another version of the document",
}


def is_stale(raw: dict[str, Any], cursor: Cursor) -> bool:
    """Return whether the request names another version of the document than the client has sent."""
    identifier = raw.get("textDocument")
    version = identifier.get("version") if isinstance(identifier, dict) else None
    return isinstance(version, int) and cursor.version is not None and version != cursor.version


def refuse(
    server: CodegenServer, cursor: Cursor, position: types.Position, method: Method, reason: Reason
) -> None:
    """Record why a request is answered with nothing at once."""
    outcome = Outcome(reason=reason, message=_WHY[reason])
    server.session.keep(cursor, (position.line, position.character), method, outcome)


async def ask(
    server: CodegenServer, cursor: Cursor, position: types.Position, method: Method, *, invoked: bool
) -> Record:
    """Return the record of a request that the session has answered."""
    msg_id = server.protocol.msg_id
    place = (position.line, position.character)
    try:
        return await server.session.answer(cursor, place, method, invoked=invoked)
    finally:
        server.finished(cursor.uri, method, msg_id)
