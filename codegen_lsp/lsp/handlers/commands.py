"""The commands of `workspace/executeCommand` that need no document. Arguments are plain JSON and are checked."""

from __future__ import annotations

from typing import Any

from pygls.exceptions import JsonRpcInvalidParams

from codegen_lsp.lsp.handlers.arguments import field
from codegen_lsp.lsp.session.language_server import CodegenServer
from codegen_lsp.lsp.session.session import Session
from codegen_lsp.lsp.suggest.request_log import Record
from codegen_lsp.wire.errors import CodegenError

ACCEPTED = "codegen.accepted"
LAST_REQUEST = "codegen.showLastRequest"
RESTART = "codegen.restartEngine"
UNLOAD = "codegen.unloadModel"
PAUSE = "codegen.pause"
STATUS = "codegen.status"


def accepted(server: CodegenServer, *_: Any) -> None:
    """Count a suggestion that the user has accepted."""
    server.session.records.accepted += 1


def last_request(server: CodegenServer, *arguments: Any) -> Any:
    """Return the last request of a document, or of all documents, with everything that is known about it."""
    record = server.session.records.last(field(arguments, "uri", str))
    return _with_cached_text(server.session, record) if record is not None else None


def pause(server: CodegenServer, *arguments: Any) -> dict[str, Any]:
    """Pause or resume suggestions, everywhere or in one document."""
    uri = field(arguments, "uri", str)
    return {"paused": server.session.pause(field(arguments, "paused", bool), uri)}


def status(server: CodegenServer, *_: Any) -> dict[str, Any]:
    """Return the status, the engine's phase and address, and the counters of suggestions."""
    session = server.session
    backend = session.backend
    return session.board.current.to_json() | {
        "engine": {
            "phase": session.board.engine.phase.value,
            "address": getattr(backend.engine, "address", "") if backend is not None else "",
        },
        "suggestions": dict(session.counters()),
    }


async def restart(server: CodegenServer, *_: Any) -> None:
    """Restart the engine.

    Raises:
        JsonRpcInvalidParams: suggestions are turned off.
    """
    backend = server.session.backend
    if backend is None:
        raise JsonRpcInvalidParams("suggestions are turned off, so there is no engine to restart")
    await backend.restart()


async def unload(server: CodegenServer, *_: Any) -> dict[str, Any]:
    """Free the model's memory; the next request loads it again."""
    backend = server.session.backend
    if backend is None:
        return {"unloaded": False, "message": "There is no engine."}
    try:
        await backend.engine.unload()
    except CodegenError as error:
        return {"unloaded": False, "message": str(error)}
    backend.look()
    return {"unloaded": True, "message": ""}


async def _with_cached_text(session: Session, record: Record) -> dict[str, Any]:
    """Return a record as JSON; the part of its prompt that was cached is counted in characters too."""
    outcome, pipeline = record.outcome, session.pipeline
    covered: int | None = None
    # A model that was loaded later has tokens of its own, and with `files` the engine's prompt starts before the text.
    prompt = outcome.prompt
    if (
        prompt is not None
        and not prompt.files
        and pipeline is not None
        and outcome.model == pipeline.backend.info.id
    ):
        counter = await pipeline.counter()
        cached = outcome.usage.cached_tokens
        if prompt.order == "spm":  # the suffix comes first
            cached -= counter.exact(prompt.suffix) + pipeline.limits().fill_tokens
        covered = counter.covered(prompt.text, max(0, cached))
    return record.to_json(covered)
