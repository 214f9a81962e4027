"""Read the bodies of requests."""

from __future__ import annotations

import json

from starlette.requests import ClientDisconnect, Request

from codegen_lsp.wire.errors import RequestError

MAX_BODY = 16 * 2**20
"""Maximum size of a body, in bytes."""


async def json_body(request: Request) -> object:
    """Return the JSON in the body of a request.

    Raises:
        RequestError: the body is not JSON, or too long (status 413).
    """
    body = await _read(request)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError("the body is not JSON", code="malformed") from None


async def _read(request: Request) -> bytes:
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_BODY:
                error = RequestError(f"the body has more than {MAX_BODY} bytes", code="body-too-large")
                error.status = 413
                raise error
            parts.append(part)
    except ClientDisconnect:
        raise RequestError("the client left before its request was complete") from None
    return b"".join(parts)
