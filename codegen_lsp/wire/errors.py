"""Exceptions whose message is written for a person.

```
CodegenError
├── ConfigError                 an option, a flag or an environment variable is wrong
├── MissingExtraError           an extra of the package is not installed
├── WireError                   a request to an engine failed
│   ├── RequestError            400: a field is wrong or not supported; `param` names it
│   ├── NotReadyError           503: the model is loading, unloaded or failed to load; `code` says which
│   ├── OverloadedError         429: too many requests are waiting
│   ├── UnauthorizedError       401: the bearer token is missing or wrong
│   ├── InternalError           500: the engine broke while it worked on the request
│   │   └── InvalidAnswerError  the engine answered with something that the API does not allow
│   └── TransportError          the answer did not arrive, or not completely
│       ├── UnavailableError    no engine listens at the address, or the address can't be used
│       ├── ConnectionLostError the connection broke in the middle of an answer
│       └── TimedOutError       the engine accepted the connection and then sent nothing for too long
└── UnscoredError               the engine doesn't report the log-probabilities of a prompt
```

Modules outside of `codegen_lsp.wire` derive their own exceptions from `CodegenError`. The command line prints the
message of any of them as one sentence and exits with code 2.
"""

from __future__ import annotations

from typing import Any


class CodegenError(Exception):
    """An error that a person can act on: `str(error)` says what happened and what to do."""


class ConfigError(CodegenError, ValueError):
    """A wrong option, flag or environment variable; the message says what would be right."""


class UnscoredError(CodegenError):
    """The engine doesn't report the log-probabilities of a prompt."""


class WireError(CodegenError):
    """A failed request. `status`, `kind`, `param` and `code` are the fields of an OpenAI error."""

    status = 500
    kind = "server_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after: float | None = None
        """Seconds after which to try again, if the server says so (`Retry-After`)."""

    def to_json(self) -> dict[str, Any]:
        """Return the error as OpenAI writes it: `{"error": {message, type, param, code}}`."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class RequestError(WireError):
    """A wrong request; `param` names the field."""

    status = 400
    kind = "invalid_request_error"


class NotReadyError(WireError):
    """A model that can't answer yet (`loading`), any more (`unloaded`) or at all (`load-failed`)."""

    status = 503
    kind = "not_ready"


class OverloadedError(WireError):
    """A full queue."""

    status = 429
    kind = "overloaded"


class UnauthorizedError(WireError):
    """A missing or wrong bearer token."""

    status = 401
    kind = "authentication_error"


class InternalError(WireError):
    """A failure of the engine during a request; `code` is `out-of-memory` if that is the cause."""


class InvalidAnswerError(InternalError):
    """An answer that the API does not allow; the message names the place in it."""


class TransportError(WireError):
    """An answer that did not arrive, or not completely."""


class UnavailableError(TransportError):
    """No engine listens at the address, or the address can't be used."""


class ConnectionLostError(TransportError):
    """The connection broke in the middle of an answer."""


class TimedOutError(TransportError):
    """The engine sent nothing for too long."""


_BY_STATUS: dict[int, type[WireError]] = {
    kind.status: kind for kind in (RequestError, NotReadyError, OverloadedError, UnauthorizedError)
}

MAX_MESSAGE = 2000
"""Maximum number of characters of a message that are kept from a server's error."""


def error_from_json(status: int, body: object) -> WireError:
    """Return the exception for a server's refusal.

    Servers put the message in different places: `{"error": {"message": "..."}}` (OpenAI), `{"error": "..."}`,
    `{"detail": "..."}`, plain text. A page of HTML, or any other body, gives "the server answered with status ...".
    """
    fields = _error_fields(body)
    message, param, code = (fields.get(name) for name in ("message", "param", "code"))
    if not isinstance(message, str) or not message.strip():
        message = f"the server answered with status {status}"
    kind = _BY_STATUS.get(status) or (RequestError if 400 <= status < 500 else InternalError)
    return kind(
        message.strip()[:MAX_MESSAGE],
        param=param if isinstance(param, str) else None,
        code=code if isinstance(code, str) else None,
    )


def _error_fields(body: object) -> dict[str, Any]:
    if isinstance(body, str):
        return {} if body.lstrip().startswith("<") else {"message": body}
    error = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(error, str):
        return {"message": error}
    if not isinstance(error, dict):
        return {}
    return error | {"message": error.get("message")} | _detail(error.get("detail"))


def _detail(detail: object) -> dict[str, Any]:
    """Return message and field of FastAPI's errors: a text, or `[{"loc": ["body", "n"], "msg": "..."}]`."""
    if isinstance(detail, str):
        return {"message": detail}
    first = detail[0] if isinstance(detail, list) and detail else None
    if not isinstance(first, dict):
        return {}
    place = first.get("loc")
    param = place[1] if isinstance(place, list) and len(place) > 1 else None
    return {"message": first.get("msg"), "param": param}


def is_too_long(error: RequestError) -> bool:
    """Return whether a request was refused because its prompt fills the context."""
    if error.code in ("context-exceeded", "context_length_exceeded", "context-length-exceeded"):
        return True
    return "context" in error.message.lower() and error.param in (None, "prompt", "max_tokens")
