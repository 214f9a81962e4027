"""Parse the JSON body of a completions request into a `CompletionRequest`, naming the field that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta, Struct

from codegen_lsp.wire.errors import RequestError
from codegen_lsp.wire.fill.formats import FileText
from codegen_lsp.wire.requests import (
    MAX_FILES,
    MAX_LOGPROBS,
    MAX_N,
    MAX_PROMPTS,
    MAX_STOPS,
    MAX_WORD,
    MAX_WORDS,
    CompletionRequest,
    PromptInput,
)
from codegen_lsp.wire.schema import expectation, place_of

TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Rows = Annotated[int, Meta(ge=1, le=MAX_N)]
Stop = Annotated[str, Meta(min_length=1)]
Word = Annotated[str, Meta(max_length=MAX_WORD)]


class _StreamOptions(Struct, forbid_unknown_fields=True):
    include_usage: bool = False
    continuous_usage_stats: bool = False
    include_obfuscation: bool = False
    """Accepted and without effect, as the engine pads no chunks."""


class _Body(Struct):
    """The fields of a request; null and absence are the same."""

    prompt: str | list[str | TokenId | list[TokenId]] | None = None
    suffix: str | None = None
    model: str | None = None
    max_tokens: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    n: Rows | None = None
    best_of: Rows | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    stop: Stop | list[Stop] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    echo: bool | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    user: str | None = None
    """Accepted and without effect: OpenAI's name for the end user."""
    heal: bool | None = None
    branch: bool | None = None
    priority: Annotated[int, Meta(ge=-100, le=100)] | None = None
    echo_from: Annotated[int, Meta(ge=0, le=100_000_000)] | None = None
    files: Annotated[tuple[FileText, ...], Meta(max_length=MAX_FILES)] | None = None
    path: Annotated[str, Meta(max_length=4096)] | None = None
    draft: Annotated[str, Meta(max_length=20_000)] | None = None
    words: Annotated[tuple[Word, ...], Meta(max_length=MAX_WORDS)] | None = None


_FIELDS = frozenset(_Body.__struct_fields__)

_EXPECTED = {
    "prompt": "a string, a list of token ids, or a list of either",
    "stop": "a string or a list of strings, none of them empty",
    "files": f"a list of at most {MAX_FILES} objects with a path and a text",
    "words": f"a list of at most {MAX_WORDS:,} strings of at most {MAX_WORD} characters each",
    "stream_options": "an object with include_usage and continuous_usage_stats, true or false",
}
"""What a field must be, if its type says that badly."""

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    # Clients send these with values that change nothing; any other value is refused by name.
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
}


def parse_request(body: object) -> CompletionRequest:
    """Return the request in a JSON body.

    Raises:
        RequestError: a field is missing, unknown, of the wrong type or out of range; `param` names it.
    """
    if not isinstance(body, dict):
        raise RequestError("the body must be a JSON object", param=None)
    _refuse_unknown(body)
    parsed = _convert({name: value for name, value in body.items() if name in _FIELDS})
    if parsed.best_of not in (None, parsed.n or 1):
        raise RequestError("'best_of' other than 'n' is not supported by this engine", param="best_of")
    options = parsed.stream_options
    if options is not None and not parsed.stream:
        raise RequestError("'stream_options' requires 'stream': true", param="stream_options")
    given = {name: getattr(parsed, name) for name in _PLAIN if getattr(parsed, name) is not None}
    return CompletionRequest(
        prompts=_prompts(parsed.prompt),
        stop=_stops(parsed.stop),
        include_usage=options is not None and options.include_usage,
        continuous_usage=options is not None and options.continuous_usage_stats,
        **given,
    )


_PLAIN = _FIELDS & set(get_type_hints(CompletionRequest)) - {"stop"}
"""Fields that have the same name and type in a `CompletionRequest`."""


def _refuse_unknown(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        if name in _FIELDS or (name in _NEUTRAL and (value is None or value in _NEUTRAL[name])):
            continue
        name = name[:100]
        raise RequestError(f"{name!r} is not supported by this engine", param=name, code="unsupported")


def _convert(body: Mapping[str, Any]) -> _Body:
    try:
        return msgspec.convert(body, _Body)
    except msgspec.ValidationError as error:
        name = place_of(error)
        expected = _EXPECTED.get(name) or expectation(get_type_hints(_Body, include_extras=True)[name])
        raise RequestError(f"{name!r} must be {expected}", param=name) from error


def _prompts(prompt: str | list[str | int | list[int]] | None) -> tuple[PromptInput, ...]:
    if isinstance(prompt, str):
        return (prompt,)
    if not prompt or (isinstance(prompt[0], int) and not all(isinstance(token, int) for token in prompt)):
        raise RequestError(f"'prompt' must be {_EXPECTED['prompt']}", param="prompt")
    if isinstance(prompt[0], int):
        return (tuple(prompt),)  # type: ignore[arg-type]  # all of them are, as checked above
    if len(prompt) > MAX_PROMPTS:
        raise RequestError(f"'prompt' may hold at most {MAX_PROMPTS} prompts", param="prompt")
    if any(isinstance(one, int) or one == [] for one in prompt):
        raise RequestError(f"'prompt' must be {_EXPECTED['prompt']}", param="prompt")
    return tuple(one if isinstance(one, str) else tuple(one) for one in prompt if not isinstance(one, int))


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    stops = [stop] if isinstance(stop, str) else stop or []
    if len(stops) > MAX_STOPS:
        raise RequestError(f"'stop' may hold at most {MAX_STOPS} strings", param="stop")
    return tuple(stops)
