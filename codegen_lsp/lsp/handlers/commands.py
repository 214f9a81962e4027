"""The commands of `workspace/executeCommand`. Arguments are plain JSON from any client, so each is checked."""

from __future__ import annotations

from typing import Any

from pygls.exceptions import JsonRpcInvalidParams

from codegen_lsp.lsp.handlers.arguments import field
from codegen_lsp.lsp.server.server import CodegenServer
from codegen_lsp.lsp.session import Session
from codegen_lsp.lsp.suggest.request_log import Record
from codegen_lsp.wire.errors import CodegenError

ACCEPTED = "codegen.accepted"
LAST_REQUEST = "codegen.showLastRequest"
RESTART = "codegen.restartEngine"
UNLOAD = "codegen.unloadModel"
PAUSE = "codegen.pause"
STATUS = "codegen.status"


def register(server: CodegenServer) -> None:
    """Give a server its commands."""
    session = server.session

    @server.command(ACCEPTED)
    def accepted(*_: Any) -> None:
        session.records.accepted += 1

    @server.command(LAST_REQUEST)
    def last_request(*arguments: Any) -> Any:
        record = session.records.last(field(arguments, "uri", str))
        return _account(session, record) if record is not None else None

    @server.command(PAUSE)
    def pause(*arguments: Any) -> dict[str, Any]:
        uri = field(arguments, "uri", str)
        return {"paused": session.pause(field(arguments, "paused", bool), uri)}

    @server.command(STATUS)
    def status(*_: Any) -> dict[str, Any]:
        backend = session.backend
        return session.board.current.to_json() | {
            "engine": {
                "phase": session.board.engine.phase,
                "address": getattr(backend.engine, "address", "") if backend is not None else "",
            },
            "suggestions": dict(session.counters()),
        }

    @server.command(RESTART)
    async def restart(*_: Any) -> None:
        if session.backend is None:
            raise JsonRpcInvalidParams("suggestions are turned off; there is no engine to restart")
        await session.backend.restart()

    @server.command(UNLOAD)
    async def unload(*_: Any) -> dict[str, Any]:
        if session.backend is None:
            return {"unloaded": False, "message": "There is no engine."}
        try:
            await session.backend.engine.unload()
        except CodegenError as error:
            return {"unloaded": False, "message": str(error)}
        session.backend.look()
        return {"unloaded": True, "message": ""}


async def _account(session: Session, record: Record) -> dict[str, Any]:
    """A record as JSON, with the part of its prompt that came from the cache counted in characters."""
    outcome, pipeline = record.outcome, session.pipeline
    covered: int | None = None
    # A model that came later has tokens of its own.
    if outcome.prompt is not None and pipeline is not None and outcome.model == pipeline.backend.info.id:
        count = await pipeline.counter()
        covered = count.covered(outcome.prompt.text, outcome.usage.cached_tokens)
    return record.to_json(covered)
