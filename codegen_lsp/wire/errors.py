"""The root of every error whose message is written for a person.

```
CodegenError
├── ConfigError         an option or flag is wrong           (engine.config)
├── WireError           the other side answered with an error (wire)
├── SessionError        the language server did not answer    (session)
└── ...                 each module draws its own below its root
```
The command line prints such a message as one sentence and leaves with exit code 2.
"""

from __future__ import annotations

from typing import Any


class CodegenError(Exception):
    """Something a person can act on; `str(error)` says what happened and what to do next."""


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
