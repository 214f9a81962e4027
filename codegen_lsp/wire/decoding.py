"""Decode what a server answers, and refuse what the API does not allow.

An answer is foreign input, even that of a server the user chose: each field has a type and bounds, and anything else
raises one `InvalidAnswerError` that names the place, such as "`choices[0]`: expected object, got null". Fields
that nothing reads are ignored. Null and absence are the same.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
from msgspec import Meta, Struct

from codegen_lsp.wire.answers import (
    Choice,
    Completion,
    FillInfo,
    Health,
    Logprobs,
    ModelInfo,
    ModelState,
    Usage,
)
from codegen_lsp.wire.errors import InvalidAnswerError, error_from_json
from codegen_lsp.wire.requests import EXTENSIONS, MAX_N, MAX_PROMPTS

WireCount = Annotated[int, Meta(ge=0, le=2**53)]
"""A number of tokens, bytes or steps."""
WireText = Annotated[str, Meta(max_length=4 * 2**20)]
WireName = Annotated[str, Meta(max_length=4096)]
Nats = Annotated[float, Meta(ge=-1e39, le=1e-3)]
"""A log-probability; servers round, so that a certain token may come out slightly above 0."""
MAX_TOKENS = 2**20
"""Maximum number of tokens of one choice."""
WireTokens = Meta(max_length=MAX_TOKENS)

Body = TypeVar("Body")


class _TokenBody(Struct):
    token: WireText | None = None
    logprob: Nats | None = None


class _LogprobsBody(Struct):
    tokens: Annotated[list[WireText | None], WireTokens] | None = None
    token_logprobs: Annotated[list[Nats | None], WireTokens] | None = None
    top_logprobs: Annotated[list[dict[WireText, Nats | None] | None], WireTokens] | None = None
    text_offset: Annotated[list[WireCount], WireTokens] | None = None
    content: Annotated[list[_TokenBody], WireTokens] | None = None
    """The same in the shape of chats, which some servers send for completions too."""


class _ChoiceBody(Struct):
    index: Annotated[int, Meta(ge=0, lt=MAX_N * MAX_PROMPTS)] | None = None
    text: WireText | None = None
    finish_reason: WireName | None = None
    logprobs: _LogprobsBody | None = None


class _DetailsBody(Struct):
    cached_tokens: WireCount | None = None


class _UsageBody(Struct):
    prompt_tokens: WireCount | None = None
    completion_tokens: WireCount | None = None
    prompt_tokens_details: _DetailsBody | None = None


class _CompletionBody(Struct):
    choices: Annotated[list[_ChoiceBody], Meta(max_length=MAX_N * MAX_PROMPTS)]
    id: WireName | int | None = None
    model: WireName | None = None
    created: Annotated[float, Meta(ge=0, le=2**53)] | None = None
    usage: _UsageBody | None = None
    timings: Any = None
    """llama.cpp's server has another object under this name."""


class _ProgressBody(Struct):
    done: WireCount | None = None
    total: WireCount | None = None


class _HealthBody(Struct):
    status: ModelState
    model: WireName | None = None
    message: WireText | None = None
    progress: _ProgressBody | None = None
    pid: WireCount | None = None
    version: WireName | None = None
    weights: WireName | None = None


class _MetaBody(Struct):
    n_ctx_train: WireCount | None = None


class _FillBody(Struct):
    family: WireName = ""
    order: WireName = ""
    tokens: WireCount = 0
    separates_files: bool = False
    file_tokens: WireCount = 0
    suffix_ranking: bool = False
    scores: dict[WireName, Nats] = {}
    reason: WireText = ""


class _ModelBody(Struct):
    id: WireName | None = None
    owned_by: WireName | None = None
    max_model_len: WireCount | None = None
    """vLLM's name for the context, which this project's engine uses too."""
    meta: _MetaBody | None = None
    """llama.cpp's."""
    tokenizer_file: WireName | None = None
    extensions: list[WireName] | None = None
    fill_in_the_middle: _FillBody | None = None
    weights: WireName | None = None


class _ModelsBody(Struct):
    data: Annotated[list[_ModelBody], Meta(max_length=10_000)] | None = None


class _VectorBody(Struct):
    embedding: Annotated[list[float], Meta(min_length=1, max_length=2**20)]
    index: WireCount = 0


class _EmbeddingsBody(Struct):
    data: Annotated[list[_VectorBody], Meta(max_length=2**16)]


def decode_json(data: bytes) -> Any:
    """Return the value that an answer's JSON spells.

    Raises:
        InvalidAnswerError: it is not JSON, holds NaN or an infinity, or is nested too deeply.
    """
    try:
        # Some servers send halves of surrogate pairs, and control characters as they are; msgspec refuses both.
        return json.loads(data, parse_constant=_refuse_constant, strict=False)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswerError("the server's answer is not JSON; is this a completions server?") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed in JSON")


def completion_from_json(body: object) -> Completion:
    """Return a server's completion, or one streamed chunk of it. Unknown finish reasons count as `stop`.

    Raises:
        InvalidAnswerError: the body is not a completion.
        WireError: the body is an error, which servers send in the middle of a stream.
    """
    if isinstance(body, dict) and body.get("error") is not None:
        raise error_from_json(500, body)
    if isinstance(body, dict) and body.get("object") == "error":
        raise error_from_json(500, {"error": body})
    parsed = _convert(_regular(body), _CompletionBody, "completions")
    timings = parsed.timings if isinstance(parsed.timings, dict) else {}
    return Completion(
        id="" if parsed.id is None else str(parsed.id),
        model=parsed.model or "",
        created=int(parsed.created or 0),
        choices=tuple(map(_choice, parsed.choices)),
        usage=_usage(parsed.usage) if parsed.usage is not None else None,
        timings={
            name: float(value)
            for name, value in timings.items()
            if name.endswith("_ms") and _is_duration(value)
        },
    )


def _regular(body: object) -> object:
    """Return a body without two dialects: a chunk of nothing but `usage`, and its whole numbers with a point."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(usage, dict) or not usage:
        return body
    counts = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in usage.items()
    }
    return {"choices": [], **body, "usage": counts}


def _choice(body: _ChoiceBody) -> Choice:
    reason = body.finish_reason
    return Choice(
        index=body.index or 0,
        text=body.text or "",
        finish_reason=None if reason is None else "length" if reason == "length" else "stop",
        logprobs=_logprobs(body.logprobs) if body.logprobs is not None else None,
    )


def _logprobs(body: _LogprobsBody) -> Logprobs:
    if body.content and not body.tokens:
        return Logprobs(
            tokens=tuple(entry.token or "" for entry in body.content),
            token_logprobs=tuple(entry.logprob for entry in body.content),
        )
    return Logprobs(
        tokens=tuple(token or "" for token in body.tokens or ()),
        token_logprobs=tuple(body.token_logprobs or ()),
        top_logprobs=tuple(body.top_logprobs or ()),
        text_offset=tuple(body.text_offset or ()),
    )


def _usage(body: _UsageBody) -> Usage:
    details = body.prompt_tokens_details or _DetailsBody()
    return Usage(body.prompt_tokens or 0, body.completion_tokens or 0, details.cached_tokens or 0)


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12


def health_from_json(body: object) -> Health:
    """Return what a health page says. A page of another shape is that of another server, which counts as ready."""
    try:
        parsed = msgspec.convert(body, _HealthBody)
    except (msgspec.ValidationError, RecursionError):
        return Health("ready", "")
    progress = parsed.progress or _ProgressBody()
    return Health(
        state=parsed.status,
        model=parsed.model or "",
        message=parsed.message or "",
        done=progress.done or 0,
        total=progress.total or 0,
        pid=parsed.pid or 0,
        version=parsed.version or "",
        weights=parsed.weights or "",
    )


def models_from_json(body: object) -> tuple[ModelInfo, ...]:
    """Return the models of `/v1/models`, in the dialects of this project's engine, vLLM and llama.cpp.

    Raises:
        InvalidAnswerError: the body is not a list of models.
    """
    return tuple(_model(entry) for entry in _convert(body, _ModelsBody, "models").data or ())


def _model(body: _ModelBody) -> ModelInfo:
    meta, fill = body.meta or _MetaBody(), body.fill_in_the_middle
    return ModelInfo(
        id=body.id or "",
        max_model_len=body.max_model_len or meta.n_ctx_train or 0,
        tokenizer_file=body.tokenizer_file or "",
        extensions=tuple(name for name in body.extensions or () if name in EXTENSIONS),
        owner=body.owned_by or "",
        fill=FillInfo(**msgspec.structs.asdict(fill)) if fill is not None else None,
        weights=body.weights or "",
    )


def embeddings_from_json(body: object, count: int) -> list[list[float]]:
    """Return `count` vectors in the order of their texts.

    Raises:
        InvalidAnswerError: the body holds another number of vectors, or something else.
    """
    entries = _convert(body, _EmbeddingsBody, "embeddings").data
    if len(entries) != count:
        raise InvalidAnswerError(f"expected {count} embeddings, got {len(entries)}")
    return [entry.embedding for entry in sorted(entries, key=lambda entry: entry.index)]


def _convert(body: object, kind: type[Body], what: str) -> Body:
    try:
        return msgspec.convert(body, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidAnswerError(
            f"the server's answer has no valid {what}: {problem_of(error)}; is this a completions server?"
        ) from error


def problem_of(error: Exception) -> str:
    """Return what is wrong and where, from an error of msgspec.

    "Expected `int`, got `str` - at `$.choices[0].index`" becomes "`choices[0].index`: expected int, got str".
    """
    match = re.fullmatch(r"(.*?)(?: - at `\$\.?(.*)`)?", str(error), re.DOTALL)
    text, place = (match[1], match[2]) if match else (str(error), None)
    text = text.replace("`", "") if place else text.replace("`", "'")
    text = text[:1].lower() + text[1:]
    return f"`{place}`: {text}" if place else text
