"""Values that an engine answers with: completions and their streamed chunks, its health, its models.

`wire/decoding.py` makes them from the JSON of a server; `to_json` writes the JSON of this project's engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from codegen_lsp.wire.errors import InvalidAnswerError

FinishReason = Literal["stop", "length"]
ModelState = Literal["loading", "ready", "unloaded", "error"]


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Log-probabilities (natural logarithm) of a choice's tokens. Each list has one entry per token."""

    tokens: tuple[str, ...] = ()
    token_logprobs: tuple[float | None, ...] = ()
    """None for the first token of an echoed prompt, which nothing predicts."""
    top_logprobs: tuple[Mapping[str, float | None] | None, ...] = ()
    text_offset: tuple[int, ...] = ()
    """Start of each token, in characters from the start of the prompt, with `echo` and without it."""

    def to_json(self) -> dict[str, Any]:
        """Return the log-probabilities as OpenAI writes them."""
        return {
            "tokens": list(self.tokens),
            "token_logprobs": list(self.token_logprobs),
            "top_logprobs": [dict(t) if t is not None else None for t in self.top_logprobs],
            "text_offset": list(self.text_offset),
        }

    def __add__(self, other: Logprobs) -> Logprobs:
        """Return the log-probabilities of a text and of the text that follows it."""
        return Logprobs(
            self.tokens + other.tokens,
            self.token_logprobs + other.token_logprobs,
            self.top_logprobs + other.top_logprobs,
            self.text_offset + other.text_offset,
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """One row: a whole completion, or the part of it in one streamed chunk."""

    index: int
    text: str
    finish_reason: FinishReason | None = None
    """`stop`: a stop string or the end of text; `length`: max_tokens or the context's end; None: not yet."""
    logprobs: Logprobs | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the choice as OpenAI writes it."""
        return {
            "index": self.index,
            "text": self.text,
            "logprobs": self.logprobs.to_json() if self.logprobs is not None else None,
            "finish_reason": self.finish_reason,
        }


@dataclass(frozen=True, slots=True)
class Usage:
    """Numbers of tokens of a request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Tokens of the prompt that came from the prefix cache instead of a prefill."""

    def to_json(self) -> dict[str, Any]:
        """Return the usage as OpenAI writes it."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer, or one streamed chunk of it."""

    id: str
    model: str
    created: int
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    """None in chunks of servers that report the usage once, at the end."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Extension. Milliseconds: `queue_ms`, `prefill_ms`, `decode_ms`."""

    def to_json(self) -> dict[str, Any]:
        """Return the completion as OpenAI writes it."""
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


def join_chunks(chunks: Sequence[Completion]) -> Completion:
    """Return the whole answer that streamed chunks add up to, with its choices in order of index.

    Raises:
        InvalidAnswerError: there are no chunks.
    """
    if not chunks:
        raise InvalidAnswerError("the server closed the stream before it sent anything")
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


@dataclass(frozen=True, slots=True)
class Health:
    """The body of `GET /health`; the status is 200 if ready or unloaded, otherwise 503."""

    state: ModelState
    model: str
    message: str = ""
    """A sentence for a person: what is being loaded, or what went wrong and what to do."""
    done: int = 0
    """Finished steps of the load (shards, or megabytes of a download)."""
    total: int = 0
    """All steps of the load; 0 if unknown."""
    pid: int = 0
    version: str = ""
    weights: str = ""
    """Number format of the loaded model's weights: int8, int4 or a dtype; empty without a model."""

    def to_json(self) -> dict[str, Any]:
        """Return the body to send."""
        return {
            "status": self.state,
            "model": self.model,
            "message": self.message,
            "progress": {"done": self.done, "total": self.total},
            "pid": self.pid,
            "version": self.version,
            "weights": self.weights,
        }


@dataclass(frozen=True, slots=True)
class FillInfo:
    """How a model fills in the middle."""

    family: str
    """The family whose control tokens it has."""
    order: str
    """`psm`, `spm`, or `left-to-right` for a model that has the tokens and is not asked with them."""
    tokens: int = 0
    """Number of tokens of a prompt besides its texts, at most."""
    separates_files: bool = False
    """Whether the family has separators for `files`; otherwise each is text below a comment with its path."""
    file_tokens: int = 0
    """Number of tokens that each of `files` takes besides its path and text, at most."""
    suffix_ranking: bool = False
    """Whether middles are also ranked by the text after them."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Mean log-probabilities of known middles by order, as the probe measured them."""
    reason: str = ""
    """A sentence about why the model is asked in this order."""

    @property
    def fills(self) -> bool:
        """Whether the model is asked with the text after the cursor."""
        return self.order in ("psm", "spm")

    def to_json(self) -> dict[str, Any]:
        """Return the entry to send."""
        return asdict(self) | {"scores": dict(self.scores)}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One entry of `GET /v1/models`."""

    id: str
    max_model_len: int = 0
    """Context in tokens, prompt and completion together; 0 if the server doesn't report it."""
    tokenizer_file: str = ""
    """Extension. Path of `tokenizer.json` on the engine's machine, to count tokens; empty if there is none."""
    extensions: tuple[str, ...] = ()
    """Extension. The fields of `EXTENSIONS` that the server understands."""
    owner: str = "codegen-lsp"
    """OpenAI's `owned_by`, by which servers of other projects can be told apart."""
    fill: FillInfo | None = None
    """Extension. How the model fills in the middle; None if it can't, or the server doesn't say."""
    weights: str = ""
    """Extension. Number format of the weights: int8, int4 or a dtype; empty while the model is not loaded."""

    def to_json(self) -> dict[str, Any]:
        """Return the entry as OpenAI writes it, with this project's fields added."""
        return {
            "id": self.id,
            "object": "model",
            "created": 0,
            "owned_by": self.owner,
            "max_model_len": self.max_model_len,
            "tokenizer_file": self.tokenizer_file,
            "extensions": list(self.extensions),
            "fill_in_the_middle": self.fill.to_json() if self.fill is not None else None,
            "weights": self.weights,
        }
