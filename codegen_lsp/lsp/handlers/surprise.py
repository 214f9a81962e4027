"""`codegen.surprise`: how surprising each token of a document is to the model, and which lines are most so.

Knows a document's positions and what stands in the way of an answer (no engine, nothing to score, a change of the
document). How a text is scored `codegen_lsp.wire.scoring` knows; how it looks is the editors' affair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pygls.exceptions import JsonRpcInvalidParams

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.positions import units
from codegen_lsp.lsp.handlers.arguments import field
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.server.progress import ReportPercent, cancellable
from codegen_lsp.lsp.server.server import CodegenServer
from codegen_lsp.wire.answers import Completion
from codegen_lsp.wire.errors import CodegenError, WireError
from codegen_lsp.wire.requests import CompletionRequest
from codegen_lsp.wire.scoring import Scored

SURPRISE = "codegen.surprise"
TITLE = "Measuring surprise"
PATIENCE = 10.0
"""Seconds that the user waits for an engine that slept."""
LINES = 20
"""The most surprising lines, at most so many."""
SHOWN = 200
"""Characters of a line that are told, to tell it by in a list."""

_TO_BITS = 1 / math.log(2)


class ChangedError(CodegenError):
    """The document is another one than when it was asked about."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document as it was when it was asked about."""

    uri: str
    version: int | None
    text: str
    """With `\\n` line endings, as models read it: lines and columns stay what they were."""


def register(server: CodegenServer) -> None:
    """Give a server the command."""

    @server.command(SURPRISE)
    def surprise(*arguments: Any) -> Any:
        uri = field(arguments, "uri", str)
        if uri is None:
            raise JsonRpcInvalidParams(f"{SURPRISE} takes an object with the document's 'uri'")
        document = server.document(uri)
        snapshot = Snapshot(uri, document.version, lines.normalize(document.source))
        server.supersede(uri, SURPRISE)
        return _answer(server, snapshot, server.protocol.msg_id)


async def _answer(server: CodegenServer, snapshot: Snapshot, msg_id: Any) -> dict[str, Any]:
    try:
        why = await _refusal(server, snapshot)
        if why is not None:
            return nothing(snapshot, *why)
        scored = await cancellable(server, TITLE, lambda report: _score(server, snapshot, report))
    except WireError as error:
        pipeline = server.session.pipeline
        reason = pipeline.failure(error) if pipeline is not None else Reason.UNAVAILABLE
        return nothing(snapshot, reason, str(error))
    except ChangedError as error:
        return nothing(snapshot, Reason.CANCELLED, str(error))
    except CodegenError as error:
        return nothing(snapshot, Reason.ENGINE_ERROR, str(error))
    finally:
        server.finished(snapshot.uri, SURPRISE, msg_id)
    if scored is None:
        return nothing(snapshot, Reason.CANCELLED, "it was stopped")
    if not scored.predicted:
        return nothing(
            snapshot, Reason.NO_CONTEXT, "the first token is never predicted, and there is no other"
        )
    backend = server.session.backend
    model = backend.info.id if backend is not None else ""
    return to_json(snapshot, scored, model, server.protocol.documents.encoding)


async def _refusal(server: CodegenServer, snapshot: Snapshot) -> tuple[Reason, str] | None:
    """Why a document can't be scored now, and a sentence on it; pausing suggestions is no reason."""
    session = server.session
    if not snapshot.text:
        return Reason.NO_CONTEXT, "the document is empty"
    limit = session.options.max_file_size
    if len(snapshot.text.encode("utf-8", "surrogatepass")) > limit:
        return (
            Reason.TOO_LARGE,
            f"the document is larger than {limit} bytes (the setting codegen.maxFileSize)",
        )
    if session.backend is None:
        if not session.options.enabled:
            return Reason.PAUSED, "the setting codegen.enabled is off, so there is no model to ask"
        engine = session.board.engine
        if engine.phase == "error":
            return Reason.UNAVAILABLE, engine.message
        return Reason.STARTING, "the server is starting; ask again in a moment"
    reason = await session.backend.acquire(PATIENCE)
    return None if reason is None else (reason, session.backend.state.message)


async def _score(server: CodegenServer, snapshot: Snapshot, report: ReportPercent) -> Scored:
    from codegen_lsp.wire import scoring

    pipeline = server.session.pipeline
    if pipeline is None:
        raise ChangedError("the settings changed meanwhile")
    backend = pipeline.backend

    async def ask(request: CompletionRequest) -> Completion:
        document = server.protocol.documents.find(snapshot.uri)
        if document is None or document.version != snapshot.version:
            raise ChangedError("the document changed meanwhile")
        return await backend.engine.complete(request)

    with pipeline.working():
        return await scoring.score(
            ask,
            snapshot.text,
            backend.info.max_model_len,
            priority=1,  # Suggestions go first: somebody waits for them with every key.
            on_progress=lambda done: report(100 * done // len(snapshot.text)),
        )


def nothing(snapshot: Snapshot, reason: Reason, message: str) -> dict[str, Any]:
    """The answer where nothing could be measured, with a sentence that says why."""
    return {
        "uri": snapshot.uri,
        "version": snapshot.version,
        "model": "",
        "reason": reason.value,
        "message": message[:1].upper() + message[1:].rstrip(".") + ".",
        "totals": None,
        "lines": [],
        "tokens": [],
    }


def to_json(snapshot: Snapshot, scored: Scored, model: str, encoding: str) -> dict[str, Any]:
    """The answer: totals, the most surprising lines in order, and the tokens' ranges. Surprise is in bits.

    Lines count from 0, columns in units of `encoding`. A character that takes several tokens is one range with
    their surprise together. The first token is in no range, as nothing predicts it.
    """
    text = snapshot.text.split("\n")
    return {
        "uri": snapshot.uri,
        "version": snapshot.version,
        "model": model,
        "reason": None,
        "message": "",
        "totals": {
            "tokens": scored.predicted,
            "bits": _bits(-scored.total),
            "bitsPerToken": _bits(-scored.mean),
            "bitsPerByte": round(scored.bits_per_byte, 4),
            "perplexity": round(scored.perplexity, 4),
        },
        "lines": [
            {
                "line": number - 1,
                "bits": _bits(nats),
                "bitsPerToken": _bits(nats / count),
                "tokens": count,
                "text": text[number - 1].strip()[:SHOWN],
            }
            for number, nats, count in scored.most_surprising()
            if text[number - 1].strip()  # There is nothing to look at in an empty line.
        ][:LINES],
        "tokens": [
            {"range": {"start": start, "end": end}, "bits": bits}
            for start, end, bits in _ranges(scored, encoding)
        ],
    }


def _ranges(scored: Scored, encoding: str) -> Iterator[tuple[dict[str, int], dict[str, int], float]]:
    """(start, end, bits) of each token that has text and a surprise, in order."""
    place = _Place(encoding)
    at, pending, known = 0, 0.0, False
    for token in scored.tokens:
        place.pass_over(scored.text[at : token.start])
        if token.logprob is not None:
            pending, known = pending - token.logprob, True
        at = token.start + len(token.text)
        if not token.text:
            continue  # A part of a character: the token that ends it has its text.
        start = place.to_json()
        place.pass_over(token.text)
        if known:
            yield start, place.to_json(), _bits(pending)
        pending, known = 0.0, False


class _Place:
    """A position that moves over a text, so that a long line is measured once and not for each token."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._line = self._column = 0

    def pass_over(self, text: str) -> None:
        """Move past a text with `\\n` line endings."""
        ends = text.count("\n")
        if ends:
            self._line, self._column = self._line + ends, 0
        self._column += units(text[text.rfind("\n") + 1 :], self._encoding)

    def to_json(self) -> dict[str, int]:
        """As LSP writes it."""
        return {"line": self._line, "character": self._column}


def _bits(nats: float) -> float:
    return round(nats * _TO_BITS, 3) + 0.0
