"""What happened to each request, for the user to read: prompt, candidates, filters, ranking, timings.

Knows how an outcome is written as JSON (`codegen.showLastRequest`) and keeps the newest of each document. Computes
nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cachetools import LRUCache

from codegen_lsp.lsp.prompts.prompt import Prompt
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.suggest.values import Candidate, Ranked, Verdict
from codegen_lsp.lsp.uris import canonical
from codegen_lsp.wire.answers import Usage

Method = Literal["inlineCompletion", "completion", "writeBody"]
AnswerSource = Literal["engine", "memory"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one generation, or one look into the suggestion cache, came to."""

    ranked: tuple[Ranked, ...] = ()
    reason: Reason | None = None
    """Why nothing is shown; None if something is."""
    message: str = ""
    """The engine's error, if it failed."""
    source: AnswerSource | None = None
    prompt: Prompt | None = None
    verdicts: tuple[Verdict, ...] = ()
    usage: Usage = field(default_factory=Usage)
    timings: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds."""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A request of the client, with its outcome."""

    id: str
    uri: str
    version: int | None
    position: tuple[int, int]
    """As the client sent it: line, and column in units of the negotiated encoding."""
    method: Method
    invoked: bool
    outcome: Outcome
    total_ms: float

    @property
    def ids(self) -> list[str]:
        """One identifier for each suggestion that is shown."""
        return [f"{self.id}.{index}" for index in range(len(self.outcome.ranked))]

    def to_json(self, cached_characters: int | None = None) -> dict[str, Any]:
        """Return the answer to `codegen.showLastRequest`; `cached_characters` of the prompt were cached."""
        outcome = self.outcome
        return {
            "id": self.id,
            "uri": self.uri,
            "version": self.version,
            "position": {"line": self.position[0], "character": self.position[1]},
            "method": self.method,
            "trigger": "invoked" if self.invoked else "automatic",
            "reason": outcome.reason.value if outcome.reason else None,
            "message": outcome.message,
            "source": outcome.source,
            "prompt": _prompt_json(outcome.prompt, outcome.usage, cached_characters),
            "candidates": self._candidates(),
            "timings": {k: round(v, 2) for k, v in outcome.timings.items()}
            | {"total_ms": round(self.total_ms, 2)},
            "usage": {
                "prompt_tokens": outcome.usage.prompt_tokens,
                "completion_tokens": outcome.usage.completion_tokens,
                "cached_tokens": outcome.usage.cached_tokens,
            },
            "model": outcome.model,
        }

    def _candidates(self) -> list[dict[str, Any]]:
        verdicts = {id(verdict.candidate): verdict for verdict in self.outcome.verdicts}
        shown = [
            _candidate_json(ranked.candidate, ranked, verdicts.get(id(ranked.candidate)), identifier)
            for ranked, identifier in zip(self.outcome.ranked, self.ids, strict=True)
        ]
        ranked_ids = {id(ranked.candidate) for ranked in self.outcome.ranked}
        return shown + [
            _candidate_json(verdict.candidate, None, verdict, None)
            for verdict in self.outcome.verdicts
            if id(verdict.candidate) not in ranked_ids
        ]


def _prompt_json(prompt: Prompt | None, usage: Usage, cached_characters: int | None) -> dict[str, Any] | None:
    if prompt is None:
        return None
    return {
        "text": prompt.text,
        "otherFiles": [
            {
                "path": shown.piece.path,
                "source": shown.piece.source,
                "why": shown.piece.why,
                "text": shown.text,
                "tokens": shown.tokens,
            }
            for shown in prompt.pieces
        ],
        "header": prompt.header,
        "window": prompt.window,
        "suffix": prompt.suffix,
        "order": prompt.order,
        "shape": prompt.shape,
        "words": list(prompt.words),
        "offers": list(prompt.offers),
        "tokens": usage.prompt_tokens or prompt.tokens,
        "cachedTokens": usage.cached_tokens,
        "cachedCharacters": cached_characters,
    }


def _candidate_json(
    candidate: Candidate, ranked: Ranked | None, verdict: Verdict | None, identifier: str | None
) -> dict[str, Any]:
    return {
        "id": identifier,
        "text": candidate.text,
        "raw": candidate.raw,
        "meanLogprob": candidate.mean_logprob,
        "suffixLogprob": candidate.suffix_logprob,
        "score": ranked.score if ranked is not None else None,
        "parts": dict(ranked.parts) if ranked is not None else {},
        "shown": ranked is not None,
        "reason": verdict.reason.value if verdict is not None and verdict.reason else None,
        "trail": list(verdict.trail) if verdict is not None else [],
        "tokens": list(candidate.tokens),
        "tokenLogprobs": list(candidate.token_logprobs),
    }


class Records:
    """The last request of each of the newest fifty documents, and counters of shown and accepted suggestions."""

    def __init__(self) -> None:
        self._by_uri: LRUCache[str, Record] = LRUCache(maxsize=50)
        self._last: Record | None = None
        self._numbers = itertools.count(1)
        self.shown = self.accepted = self.partly_accepted = 0

    def next_id(self) -> str:
        """Return an identifier for a request, unique in this process."""
        return str(next(self._numbers))

    def add(self, record: Record) -> None:
        """Keep a request as the last one of its document and of all documents."""
        self._by_uri[canonical(record.uri)] = record
        self._last = record

    def last(self, uri: str | None = None) -> Record | None:
        """Return the last request of a document, or of all documents."""
        return self._last if uri is None else self._by_uri.get(canonical(uri))

    def forget(self, uri: str) -> None:
        """Drop the last request of a closed document; the last request of all documents stays readable."""
        self._by_uri.pop(canonical(uri), None)
