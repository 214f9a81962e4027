"""The language between the two sides: requests, answers and errors of the OpenAI *completions* API.

Knows the JSON of `POST /v1/completions`, its streamed chunks, `/health` and the errors, and turns each into
frozen dataclasses, once, at the edge. Knows nothing of HTTP, of LSP, of models. Standard library only, so
that both sides can import it.

Fields beyond OpenAI's, which only this project's engine understands (`/v1/models` says so with
`"extensions"`): `heal`, `branch`, `priority`, `echo_from` in requests, `timings` in answers. A client leaves
them out when it speaks to another server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from codegen_lsp.errors import CodegenError

FinishReason = Literal["stop", "length"]
Prompt = str | tuple[int, ...]
"""One prompt: text, or token ids."""

EXTENSIONS = ("heal", "branch", "priority", "echo_from")
"""Request fields that are this project's own."""

MAX_N = 16
MAX_LOGPROBS = 20
MAX_STOPS = 16
MAX_PROMPTS = 64


class WireError(CodegenError):
    """Everything that one side says to the other instead of an answer.

    ```
    WireError
    ├── RequestError        400: a field is wrong or not supported; `param` names it
    ├── NotReadyError       503: the model is loading, unloaded or failed to load; `code` says which
    ├── OverloadedError     429: too many requests are waiting
    ├── UnauthorizedError   401: the bearer token is missing or wrong
    └── InternalError       500: the engine broke while it worked on the request
    ```
    """

    status = 500
    kind = "server_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code

    def to_json(self) -> dict[str, Any]:
        """The error as OpenAI writes it: `{"error": {message, type, param, code}}`."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class RequestError(WireError):
    """The request is wrong; `param` names the field."""

    status = 400
    kind = "invalid_request_error"


class NotReadyError(WireError):
    """The model can't answer yet (`loading`), any more (`unloaded`) or at all (`load-failed`)."""

    status = 503
    kind = "not_ready"


class OverloadedError(WireError):
    """The queue is full."""

    status = 429
    kind = "overloaded"


class UnauthorizedError(WireError):
    """The bearer token is missing or wrong."""

    status = 401
    kind = "authentication_error"


class InternalError(WireError):
    """The engine broke while it worked on the request; code `out-of-memory` where that is the cause."""


_ERRORS: tuple[type[WireError], ...] = (RequestError, NotReadyError, OverloadedError, UnauthorizedError)


def error_from_json(status: int, body: object) -> WireError:
    """The error that a server answered with; any shape of body is accepted, some servers send plain text or a page."""
    if isinstance(body, str) and body.lstrip().startswith("<"):
        body = None
    error = body.get("error", body) if isinstance(body, dict) else {}
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        error = {}
    message = error.get("message") or error.get("detail") or (body if isinstance(body, str) else "")
    if not isinstance(message, str) or not message.strip():
        message = f"the server answered with status {status}"
    kind = next((e for e in _ERRORS if e.status == status), None)
    if kind is None:
        kind = RequestError if 400 <= status < 500 else InternalError
    param, code = error.get("param"), error.get("code")
    return kind(
        message.strip()[:2000],
        param=param if isinstance(param, str) else None,
        code=code if isinstance(code, str) else None,
    )


def is_too_long(error: RequestError) -> bool:
    """Whether a request was refused because its prompt fills the context."""
    if error.code in ("context-exceeded", "context_length_exceeded", "context-length-exceeded"):
        return True
    return "context" in error.message.lower() and error.param in (None, "prompt", "max_tokens")


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """The body of `POST /v1/completions`."""

    prompts: tuple[Prompt, ...]
    """What to continue. Several prompts give `len(prompts) * n` choices, the first prompt's first."""
    model: str | None = None
    """The model's name; None takes the server's only one."""
    max_tokens: int = 16
    """Tokens to decode at most, a row. 0 prefills only: it warms the prefix cache, and scores with `echo`."""
    n: int = 1
    """Rows (candidates) a prompt."""
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    """Nucleus: sample from the fewest tokens whose probability reaches this."""
    stop: tuple[str, ...] = ()
    """Strings that end a row; the text ends before the first of them."""
    seed: int | None = None
    """Row i of a request with seed s draws what a request with n=1 and seed s + i draws."""
    logprobs: int | None = None
    """Log-probabilities of the tokens, and of that many most likely others at each place."""
    echo: bool = False
    """Give the prompt back too, with its tokens' log-probabilities where `logprobs` is set."""
    stream: bool = False
    """Answer as server-sent events, a chunk a step."""
    include_usage: bool = False
    """`stream_options.include_usage`: a last chunk with no choices holds the usage."""
    continuous_usage: bool = False
    """`stream_options.continuous_usage_stats`: every chunk holds the usage so far."""
    heal: bool = False
    """Extension. Token healing: the prompt's ragged last tokens are given back, and decoding chooses only
    tokens that spell their text again. The choices' text starts after the prompt, as without it."""
    branch: bool = False
    """Extension. Row i starts with the i-th most likely first token (after healing); from there on each row
    decodes as `temperature` says. At temperature 0 the rows are distinct and row 0 is the greedy one."""
    priority: int = 0
    """Extension. Lower is served first; one of 1 and above runs only while none of 0 and below waits."""
    echo_from: int = 0
    """Extension. With `echo`: the echoed part starts at the token that holds this character of the prompt."""

    def to_json(self, *, extensions: bool = True) -> dict[str, Any]:
        """The body to send; without the extensions for a server that is not ours."""
        prompt: Any = [p if isinstance(p, str) else list(p) for p in self.prompts]
        body: dict[str, Any] = {
            "prompt": prompt[0] if len(prompt) == 1 else prompt,
            "max_tokens": self.max_tokens,
            "n": self.n,
            "temperature": self.temperature,
            "top_p": self.top_p,
        }
        optional: dict[str, Any] = {
            "model": self.model,
            "stop": list(self.stop) or None,
            "seed": self.seed,
            "logprobs": self.logprobs,
            "echo": self.echo or None,
            "stream": self.stream or None,
        }
        if self.stream and (self.include_usage or self.continuous_usage):
            optional["stream_options"] = {"include_usage": self.include_usage}
            if self.continuous_usage and extensions:
                optional["stream_options"]["continuous_usage_stats"] = True
        if extensions:
            optional |= {"heal": self.heal or None, "branch": self.branch or None}
            optional |= {"priority": self.priority or None, "echo_from": self.echo_from or None}
        return body | {k: v for k, v in optional.items() if v is not None}


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


def _prompts(body: Mapping[str, Any]) -> tuple[Prompt, ...]:
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
    parsed: list[Prompt] = []
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
