"""What an engine answers: completions and their streamed chunks, `/health`, `/v1/models`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from codegen_lsp.wire.errors import InternalError, error_from_json
from codegen_lsp.wire.requests import EXTENSIONS

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Log-probabilities (natural logarithm) of a choice's tokens, each list one entry a token."""

    tokens: tuple[str, ...] = ()
    token_logprobs: tuple[float | None, ...] = ()
    """None for the first token of an echoed prompt, which nothing predicts."""
    top_logprobs: tuple[Mapping[str, float] | None, ...] = ()
    text_offset: tuple[int, ...] = ()
    """Where each token starts, in characters from the start of the prompt, with `echo` and without it."""

    def to_json(self) -> dict[str, Any]:
        """As OpenAI writes it."""
        return {
            "tokens": list(self.tokens),
            "token_logprobs": list(self.token_logprobs),
            "top_logprobs": [dict(t) if t is not None else None for t in self.top_logprobs],
            "text_offset": list(self.text_offset),
        }

    @classmethod
    def from_json(cls, body: object) -> Logprobs | None:
        """What a server sent; missing lists are empty."""
        if not isinstance(body, dict):
            return None
        return cls(
            tokens=tuple(body.get("tokens") or ()),
            token_logprobs=tuple(body.get("token_logprobs") or ()),
            top_logprobs=tuple(body.get("top_logprobs") or ()),
            text_offset=tuple(body.get("text_offset") or ()),
        )

    def __add__(self, other: Logprobs) -> Logprobs:
        """The log-probabilities of a text and of the text that follows it."""
        return Logprobs(
            self.tokens + other.tokens,
            self.token_logprobs + other.token_logprobs,
            self.top_logprobs + other.top_logprobs,
            self.text_offset + other.text_offset,
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """One row: a whole candidate, or the part of it in one streamed chunk."""

    index: int
    text: str
    finish_reason: FinishReason | None = None
    """`stop`: a stop string or the end of text; `length`: max_tokens or the context's end; None: not yet."""
    logprobs: Logprobs | None = None

    def to_json(self) -> dict[str, Any]:
        """As OpenAI writes it."""
        return {
            "index": self.index,
            "text": self.text,
            "logprobs": self.logprobs.to_json() if self.logprobs is not None else None,
            "finish_reason": self.finish_reason,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Choice:
        """What a server sent. Unknown finish reasons count as `stop`."""
        reason = body.get("finish_reason")
        return cls(
            index=int(body.get("index", 0)),
            text=body.get("text") or "",
            finish_reason=None if reason is None else "length" if reason == "length" else "stop",
            logprobs=Logprobs.from_json(body.get("logprobs")),
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Tokens of the prompt that came from the prefix cache instead of a prefill."""

    def to_json(self) -> dict[str, Any]:
        """As OpenAI writes it."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }

    @classmethod
    def from_json(cls, body: object) -> Usage | None:
        """What a server sent; servers without a prefix cache leave the details out."""
        if not isinstance(body, dict):
            return None
        details = body.get("prompt_tokens_details") or {}
        return cls(
            int(body.get("prompt_tokens") or 0),
            int(body.get("completion_tokens") or 0),
            int(details.get("cached_tokens") or 0),
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer, or one streamed chunk of it (then `usage` may be None)."""

    id: str
    model: str
    created: int
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    """Extension. Milliseconds: `queue_ms`, `prefill_ms`, `decode_ms`."""

    def to_json(self) -> dict[str, Any]:
        """As OpenAI writes it."""
        body: dict[str, Any] = {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": [c.to_json() for c in self.choices],
        }
        if self.usage is not None:
            body["usage"] = self.usage.to_json()
        if self.timings:
            body["timings"] = dict(self.timings)
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Completion:
        """What a server sent.

        Raises:
            InternalError: the body is an error in the middle of a stream, or no completion at all.
        """
        if "error" in body:
            raise error_from_json(500, dict(body))
        choices = body.get("choices")
        if not isinstance(choices, list):
            raise InternalError("the server's answer holds no 'choices'; is this a completions server?")
        timings = body.get("timings")
        return cls(
            id=str(body.get("id", "")),
            model=str(body.get("model", "")),
            created=int(body.get("created") or 0),
            choices=tuple(Choice.from_json(c) for c in choices),
            usage=Usage.from_json(body.get("usage")),
            timings=timings if isinstance(timings, dict) else {},
        )


def join_chunks(chunks: Sequence[Completion]) -> Completion:
    """The whole answer that streamed chunks add up to, choices in order of index."""
    if not chunks:
        raise InternalError("the server closed the stream before it sent anything")
    parts: dict[int, list[Choice]] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            parts.setdefault(choice.index, []).append(choice)
    usage = next((c.usage for c in reversed(chunks) if c.usage is not None), None)
    timings = next((c.timings for c in reversed(chunks) if c.timings), {})
    first = chunks[0]
    choices = tuple(_join_choice(index, parts[index]) for index in sorted(parts))
    return Completion(first.id, first.model, first.created, choices, usage, timings)


def _join_choice(index: int, parts: Sequence[Choice]) -> Choice:
    logprobs = [p.logprobs for p in parts if p.logprobs is not None]
    return Choice(
        index=index,
        text="".join(p.text for p in parts),
        finish_reason=next((p.finish_reason for p in parts if p.finish_reason), None),
        logprobs=sum(logprobs[1:], logprobs[0]) if logprobs else None,
    )


ModelState = Literal["loading", "ready", "unloaded", "error"]


@dataclass(frozen=True, slots=True)
class Health:
    """The body of `GET /health`: status 200 when ready or unloaded, 503 else."""

    state: ModelState
    model: str
    message: str = ""
    """A sentence for a person: what is being loaded, or what went wrong and what to do."""
    done: int = 0
    """Steps of the load that are done (shards, or megabytes of a download)."""
    total: int = 0
    """Steps of the load, 0 where unknown."""
    pid: int = 0
    version: str = ""

    def to_json(self) -> dict[str, Any]:
        """The body to send."""
        return {
            "status": self.state,
            "model": self.model,
            "message": self.message,
            "progress": {"done": self.done, "total": self.total},
            "pid": self.pid,
            "version": self.version,
        }

    @classmethod
    def from_json(cls, body: object) -> Health:
        """What a server sent. Another server's health page has another shape: it counts as ready."""
        if not isinstance(body, dict) or body.get("status") not in ("loading", "ready", "unloaded", "error"):
            return cls("ready", "")
        progress = body.get("progress") or {}
        return cls(
            state=body["status"],
            model=str(body.get("model", "")),
            message=str(body.get("message", "")),
            done=int(progress.get("done") or 0),
            total=int(progress.get("total") or 0),
            pid=int(body.get("pid") or 0),
            version=str(body.get("version", "")),
        )


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One entry of `GET /v1/models`."""

    id: str
    max_model_len: int = 0
    """The context in tokens, prompt and completion together; 0 where the server doesn't say."""
    tokenizer_file: str = ""
    """Extension. The local `tokenizer.json`, to count tokens on the same machine; empty without one."""
    extensions: tuple[str, ...] = ()
    """Extension. The fields of `EXTENSIONS` that the server understands."""

    def to_json(self) -> dict[str, Any]:
        """As OpenAI writes it, with ours added."""
        return {
            "id": self.id,
            "object": "model",
            "created": 0,
            "owned_by": "codegen-lsp",
            "max_model_len": self.max_model_len,
            "tokenizer_file": self.tokenizer_file,
            "extensions": list(self.extensions),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ModelInfo:
        """What a server sent (vLLM's `max_model_len` and llama.cpp's `meta.n_ctx_train` are understood)."""
        meta = body.get("meta") or {}
        return cls(
            id=str(body.get("id", "")),
            max_model_len=int(body.get("max_model_len") or meta.get("n_ctx_train") or 0),
            tokenizer_file=str(body.get("tokenizer_file") or ""),
            extensions=tuple(e for e in body.get("extensions") or () if e in EXTENSIONS),
        )
