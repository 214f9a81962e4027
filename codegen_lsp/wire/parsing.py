"""Parse the JSON body of a completions request into a `CompletionRequest`, naming every field that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codegen_lsp.wire.errors import RequestError
from codegen_lsp.wire.requests import (
    EXTENSIONS,
    MAX_LOGPROBS,
    MAX_N,
    MAX_PROMPTS,
    MAX_STOPS,
    CompletionRequest,
    PromptInput,
)


def parse_request(body: object) -> CompletionRequest:
    """The request in a JSON body.

    Raises:
        RequestError: a field is missing, unknown, of the wrong type or out of range; `param` names it.
    """
    if not isinstance(body, dict):
        raise RequestError("the body must be a JSON object", param=None)
    unsupported = [k for k in body if k not in _FIELDS]
    for name in unsupported:
        if name in _NEUTRAL and (body[name] is None or body[name] in _NEUTRAL[name]):
            continue
        raise RequestError(f"{name!r} is not supported by this engine", param=name, code="unsupported")
    get = _Fields(body)
    stream = get.flag("stream")
    include, continuous = _stream_options(body.get("stream_options"), stream)
    n = get.integer("n", 1, 1, MAX_N)
    best_of = get.integer("best_of", n, 1, MAX_N)
    if best_of != n:
        raise RequestError("'best_of' other than 'n' is not supported by this engine", param="best_of")
    logprobs = None
    if body.get("logprobs") is not None:
        logprobs = get.integer("logprobs", 0, 0, MAX_LOGPROBS)
    seed = None
    if body.get("seed") is not None:
        seed = get.integer("seed", 0, -(2**63), 2**63 - 1)
    return CompletionRequest(
        prompts=_prompts(body),
        model=get.text("model"),
        max_tokens=get.integer("max_tokens", 16, 0, 1_000_000),
        n=n,
        temperature=get.number("temperature", 1.0, 0.0, 2.0),
        top_p=get.number("top_p", 1.0, 0.0, 1.0, open_low=True),
        stop=_stops(body.get("stop")),
        seed=seed,
        logprobs=logprobs,
        echo=get.flag("echo"),
        stream=stream,
        include_usage=include,
        continuous_usage=continuous,
        heal=get.flag("heal"),
        branch=get.flag("branch"),
        priority=get.integer("priority", 0, -100, 100),
        echo_from=get.integer("echo_from", 0, 0, 100_000_000),
    )


_OPENAI = (
    "prompt",
    "model",
    "max_tokens",
    "n",
    "best_of",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "logprobs",
)
_FIELDS = frozenset([*_OPENAI, "echo", "stream", "stream_options", *EXTENSIONS])

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    # Clients send these with values that change nothing; any other value is refused by name.
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "suffix": ("",),
}


class _Fields:
    """Typed look-ups in a JSON object; None and absence both give the default."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.body = body

    def flag(self, name: str) -> bool:
        value = self.body.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise RequestError(f"{name!r} must be true or false", param=name)
        return value

    def text(self, name: str) -> str | None:
        value = self.body.get(name)
        if value is not None and not isinstance(value, str):
            raise RequestError(f"{name!r} must be a string", param=name)
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        value = self.body.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise RequestError(f"{name!r} must be a whole number", param=name)
        if not low <= value <= high:
            raise RequestError(f"{name!r} must be from {low} to {high}", param=name)
        return value

    def number(self, name: str, default: float, low: float, high: float, *, open_low: bool = False) -> float:
        value = self.body.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RequestError(f"{name!r} must be a number", param=name)
        if not low <= value <= high or (open_low and value == low):
            above = "above" if open_low else "from"
            raise RequestError(f"{name!r} must be {above} {low:g} to {high:g}", param=name)
        return float(value)


def _prompts(body: Mapping[str, Any]) -> tuple[PromptInput, ...]:
    prompt = body.get("prompt")
    message = "'prompt' must be a string, a list of token ids, or a list of either"
    if isinstance(prompt, str):
        return (prompt,)
    if not isinstance(prompt, list) or not prompt:
        raise RequestError(message, param="prompt")
    if all(_is_token(t) for t in prompt):
        return (tuple(prompt),)
    if len(prompt) > MAX_PROMPTS:
        raise RequestError(f"'prompt' may hold at most {MAX_PROMPTS} prompts", param="prompt")
    parsed: list[PromptInput] = []
    for one in prompt:
        if isinstance(one, str):
            parsed.append(one)
        elif isinstance(one, list) and one and all(_is_token(t) for t in one):
            parsed.append(tuple(one))
        else:
            raise RequestError(message, param="prompt")
    return tuple(parsed)


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _stops(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(s, str) and s for s in stops):
        raise RequestError("'stop' must be a string or a list of strings, none of them empty", param="stop")
    if len(stops) > MAX_STOPS:
        raise RequestError(f"'stop' may hold at most {MAX_STOPS} strings", param="stop")
    return tuple(stops)


def _stream_options(value: object, stream: bool) -> tuple[bool, bool]:
    if value is None:
        return False, False
    known = {"include_usage", "continuous_usage_stats", "include_obfuscation"}
    if not isinstance(value, dict) or not all(k in known and isinstance(v, bool) for k, v in value.items()):
        raise RequestError(
            "'stream_options' takes include_usage and continuous_usage_stats, true or false",
            param="stream_options",
        )
    if not stream:
        raise RequestError("'stream_options' needs 'stream': true", param="stream_options")
    return value.get("include_usage", False), value.get("continuous_usage_stats", False)
