"""*Write the body*: the code action, its command, its progress, and the edit it ends with.

Knows the order of these and what can interrupt it: a change of the document, a cancel, no engine. Pure functions
decide what the model is asked and where the text goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from codegen_lsp.lsp.code import cursor as cursors
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.server.progress import cancellable
from codegen_lsp.lsp.session.language_server import CodegenServer
from codegen_lsp.lsp.suggest.request_log import Outcome

WRITE_BODY = "codegen.writeBody"
KIND = types.CodeActionKind.RefactorRewrite
PATIENCE = 10.0
"""How long to wait for an engine that was asleep, in seconds."""


def code_action(server: CodegenServer, params: types.CodeActionParams) -> Any:
    """Offer to write the body of the function, or the code of the comment, at the cursor."""
    if not _is_wanted(params.context.only):
        return None
    return _offer(server, _cursor(server, params.text_document.uri, params.range.start), params)


async def _offer(
    server: CodegenServer, cursor: Cursor, params: types.CodeActionParams
) -> list[types.CodeAction] | None:
    await server.session.context.settle(cursor.uri)
    if not server.session.options.write_body or server.session.refusal(cursor) is not None:
        return None
    from codegen_lsp.lsp.code import bodies

    target = bodies.body_target(cursor)
    if target is None:
        return None
    position = {"line": params.range.start.line, "character": params.range.start.character}
    command = types.Command(target.title, WRITE_BODY, arguments=[cursor.uri, position])
    return [types.CodeAction(target.title, kind=KIND, command=command)]


def write_body(server: CodegenServer, *arguments: Any) -> Any:
    """Read the document at once, then return the coroutine that writes."""
    uri, position = _arguments(arguments)
    return _write(server, _cursor(server, uri, position), position)


def _is_wanted(kinds: Sequence[types.CodeActionKind | str] | None) -> bool:
    """Return whether a client that asks for some kinds of actions alone asks for this one."""
    if kinds is None:
        return True
    names = (kind.value if isinstance(kind, types.CodeActionKind) else kind for kind in kinds)
    return any(KIND.value == name or KIND.value.startswith(f"{name}.") for name in names)


def _arguments(arguments: tuple[Any, ...]) -> tuple[str, types.Position]:
    """Return the command's document and position.

    Raises:
        JsonRpcInvalidParams: the arguments have another form.
    """
    match arguments:
        case (str() as uri, {"line": int() as line, "character": int() as character}):
            are_numbers = not isinstance(line, bool) and not isinstance(character, bool)
            if are_numbers and 0 <= line < 2**31 and 0 <= character < 2**31:
                return uri, types.Position(line, character)
    raise JsonRpcInvalidParams(f"{WRITE_BODY} takes a document's URI and a position")


def _cursor(server: CodegenServer, uri: str, position: types.Position) -> Cursor:
    # Without the notebook's other cells: the edit counts in characters of this document.
    return cursors.read(server.document(uri), position, server.protocol.documents.encoding)


async def _write(server: CodegenServer, cursor: Cursor, position: types.Position) -> dict[str, Any]:
    """Write a body and apply it; if that fails, tell the user why."""
    from codegen_lsp.lsp.code import bodies

    target = bodies.body_target(cursor)
    session = server.session
    await session.context.settle(cursor.uri)
    reason = session.refusal(cursor)
    if target is None:
        return _told(
            server, "there is no function with a docstring and no comment at the cursor.", Reason.NO_CONTEXT
        )
    if reason is not None or session.pipeline is None or session.backend is None:
        return _told(server, "suggestions are off for this document.", reason or Reason.STARTING)
    reason = await session.backend.acquire(PATIENCE)
    if reason is not None:
        return _told(server, session.backend.state.message, reason)
    outcome = await cancellable(server, target.title, lambda _: _generate(server, cursor, target))
    if outcome is None:
        return {"applied": False, "reason": Reason.CANCELLED.value, "text": ""}
    session.keep(cursor, (position.line, position.character), "writeBody", outcome, invoked=True)
    if not outcome.ranked:
        return _told(
            server, outcome.message or "the model wrote nothing that fits at the cursor.", outcome.reason
        )
    return await _apply(server, cursor, target, outcome.ranked[0].candidate.text)


async def _generate(server: CodegenServer, cursor: Cursor, target: Any) -> Outcome:
    from codegen_lsp.lsp.prompts import prompt

    pipeline = server.session.pipeline
    assert pipeline is not None
    counter = await pipeline.counter()
    others, given = pipeline.other_files(cursor.uri), pipeline.given(cursor.uri)
    return await pipeline.write(
        target.cursor(cursor), prompt.build_body(cursor, target, pipeline.limits(), counter, others, given)
    )


async def _apply(server: CodegenServer, before: Cursor, target: Any, text: str) -> dict[str, Any]:
    """Apply the edit, provided that the text up to its place is still what the model read."""
    from codegen_lsp.lsp.suggest import edits

    document = server.protocol.documents.find(before.uri)
    if document is None:
        return _told(server, "the document was closed; nothing was written.", Reason.CANCELLED)
    whole = before.prefix + before.suffix
    if document.source[: target.end] != whole[: target.end]:
        return _told(server, "the document changed above the edit; nothing was written.", Reason.CANCELLED)
    # Clients that can't check versions get an edit without one.
    versioned = server.supports("workspace", "workspace_edit", "document_changes")
    current = cursors.at_offset(
        document.source,
        before.offset,
        uri=before.uri,
        language=before.language,
        version=document.version if versioned and document.is_versioned else None,
    )
    edit = edits.body_edit(current, target, text, server.protocol.documents.encoding)
    answer = await server.workspace_apply_edit_async(types.ApplyWorkspaceEditParams(edit, label=target.title))
    if not answer.applied:
        return _told(server, answer.failure_reason or "the editor refused the edit.", Reason.CANCELLED)
    return {"applied": True, "reason": None, "text": text}


def _told(server: CodegenServer, message: str, reason: Reason | None) -> dict[str, Any]:
    server.say(message[:1].upper() + message[1:], types.MessageType.Info)
    return {"applied": False, "reason": reason.value if reason else None, "text": ""}
