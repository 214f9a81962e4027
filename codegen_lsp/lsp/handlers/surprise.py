"""`codegen.surprise`: how surprising each token of a document is to the model, and which lines are most so.

Knows a document's positions and what can prevent an answer: no engine, nothing to score, a change of the document.
`codegen_lsp.wire.scoring` scores the text; the editors draw the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pygls.exceptions import JsonRpcInvalidParams

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.positions import units
from codegen_lsp.lsp.handlers.arguments import field
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.server.progress import ReportPercent, cancellable
from codegen_lsp.lsp.session.language_server import CodegenServer
from codegen_lsp.wire.answers import Completion
from codegen_lsp.wire.errors import CodegenError, WireError
from codegen_lsp.wire.requests import CompletionRequest
from codegen_lsp.wire.scoring import Scored
from codegen_lsp.wire.transport.session_id import session_id

SURPRISE = "codegen.surprise"
TITLE = "Measuring surprise"
PATIENCE = 10.0
"""How long to wait for an engine that was asleep, in seconds."""
LINES = 20
"""Maximum number of most surprising lines in the answer."""
SHOWN = 200
"""Maximum number of characters of a line in the answer, for lists that show it."""

_TO_BITS = 1 / math.log(2)


class ChangedError(CodegenError):
    """The document has changed since the request."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document as it was at the time of the request."""

    uri: str
    version: int | None
    text: str
    """With `\\n` line endings, as models read it: lines and columns stay what they were."""


def surprise(server: CodegenServer, *arguments: Any) -> Any:
    """Read the document at once, then return the coroutine that answers.

    Raises:
        JsonRpcInvalidParams: the document is not named, or not open.
    """
    uri = field(arguments, "uri", str)
    if uri is None:
        raise JsonRpcInvalidParams(f"{SURPRISE} takes an object with the document's 'uri'")
    document = server.document(uri)
    uri = document.uri
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
        return nothing(snapshot, Reason.CANCELLED, "the measurement was stopped")
    if not scored.predicted:
        return nothing(
            snapshot, Reason.NO_CONTEXT, "the document has one token, and the first token is never predicted"
        )
    backend = server.session.backend
    model = backend.info.id if backend is not None else ""
    return to_json(snapshot, scored, model, server.protocol.documents.encoding)


async def _refusal(server: CodegenServer, snapshot: Snapshot) -> tuple[Reason, str] | None:
    """Return why a document can't be scored now, with a sentence; paused suggestions don't prevent it."""
    session = server.session
    if not snapshot.text:
        return Reason.NO_CONTEXT, "the document is empty"
    await session.context.settle(snapshot.uri)
    if session.context.excludes(snapshot.uri):
        return Reason.EXCLUDED, "the document is excluded (the setting codegen.exclude, or .gitignore)"
    limit = session.options.max_file_size
    if len(snapshot.text.encode("utf-8", "surrogatepass")) > limit:
        return (
            Reason.TOO_LARGE,
            f"the document is larger than {limit} bytes (the setting codegen.maxFileSize)",
        )
    if session.backend is None:
        if not session.options.enabled:
            return Reason.PAUSED, "the setting codegen.enabled is off, so no model is loaded"
        engine = session.board.engine
        if engine.phase == "error":
            return Reason.UNAVAILABLE, engine.message
        return Reason.STARTING, "the language server is starting; try again in a moment"
    reason = await session.backend.acquire(PATIENCE)
    return None if reason is None else (reason, session.backend.state.message)


async def _score(server: CodegenServer, snapshot: Snapshot, report: ReportPercent) -> Scored:
    from codegen_lsp.wire import scoring

    pipeline = server.session.pipeline
    if pipeline is None:
        raise ChangedError("the settings changed during the measurement")
    backend = pipeline.backend

    async def complete(request: CompletionRequest) -> Completion:
        document = server.protocol.documents.find(snapshot.uri)
        if document is None or document.version != snapshot.version:
            raise ChangedError("the document changed during the measurement")
        return await backend.engine.complete(replace(request, session=session_id(snapshot.uri)))

    with pipeline.working():
        return await scoring.score(
            complete,
            snapshot.text,
            backend.info.max_model_len,
            priority=1,  # Suggestions go first: the user waits for them with every key.
            on_progress=lambda done: report(100 * done // len(snapshot.text)),
        )


def nothing(snapshot: Snapshot, reason: Reason, message: str) -> dict[str, Any]:
    """Return the answer if nothing could be measured, with a sentence that says why."""
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
    """Return the answer: totals, the most surprising lines in order, and the tokens' ranges. Surprise is in bits.

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
            if text[number - 1].strip()  # An empty line shows nothing.
        ][:LINES],
        "tokens": [
            {"range": {"start": start, "end": end}, "bits": bits}
            for start, end, bits in _ranges(scored, encoding)
        ],
    }


def _ranges(scored: Scored, encoding: str) -> Iterator[tuple[dict[str, int], dict[str, int], float]]:
    """Yield (start, end, bits) of each token that has text and a surprise, in order."""
    position = _Position(encoding)
    offset, nats, is_predicted = 0, 0.0, False
    for token in scored.tokens:
        position.pass_over(scored.text[offset : token.start])
        if token.logprob is not None:
            nats, is_predicted = nats - token.logprob, True
        offset = token.start + len(token.text)
        if not token.text:
            continue  # A part of a character: the token that ends it has its text.
        start = position.to_json()
        position.pass_over(token.text)
        if is_predicted:
            yield start, position.to_json(), _bits(nats)
        nats, is_predicted = 0.0, False


class _Position:
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
        """Return the position as LSP writes it."""
        return {"line": self._line, "character": self._column}


def _bits(nats: float) -> float:
    return round(nats * _TO_BITS, 3) + 0.0
