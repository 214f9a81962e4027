"""Read and parse the bodies of requests, without blocking the event loop for long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from codegen_lsp.wire.errors import RequestError
from codegen_lsp.wire.requests import MAX_PROMPTS

MAX_BODY = 16 * 2**20
"""Maximum size of a body, in bytes."""

BODY_SECONDS = 60.0
"""Seconds within which a body must arrive."""

INLINE_BYTES = 64 * 2**10
"""Bodies up to this size are parsed at once; larger ones in a thread."""

MAX_PARTS = 200_000
"""Maximum number of lists or keys in a body: the event loop waits while a million of them are made into objects."""

MAX_STOP = 1_000
"""Maximum number of characters of a stop string."""

MAX_SALT = 1_000
"""Maximum number of characters of `cache_salt`."""

Parsed = TypeVar("Parsed")


async def parsed_body(
    request: Request, parse: Callable[[object], Parsed], limit: int | None
) -> tuple[Parsed, str | None]:
    """Return the request in a body, and its `cache_salt`.

    Args:
        parse: checks the JSON.
        limit: maximum number of tokens in a prompt, if known.

    Raises:
        RequestError: the body is not JSON, something in it is wrong or too long (status 413), or it came too slowly.
    """
    raw = await _read(request)
    if len(raw) <= INLINE_BYTES:
        return _parsed(raw, parse, limit)
    return await asyncio.to_thread(_parsed, raw, parse, limit)


def _parsed(raw: bytes, parse: Callable[[object], Parsed], limit: int | None) -> tuple[Parsed, str | None]:
    body = _json(raw)
    salt = None
    if isinstance(body, dict):
        _check_lengths(body, limit)
        salt = _salt(body.pop("cache_salt", None))
    return parse(body), salt


def _json(raw: bytes) -> Any:
    if max(raw.count(b"["), raw.count(b'":')) > MAX_PARTS:
        raise RequestError(f"the body has more than {MAX_PARTS} lists or keys", code="malformed")
    try:
        if len(raw) > INLINE_BYTES:
            try:
                return msgspec.json.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                # Half a surrogate pair, which editors can send.
                if "surrogate" not in str(error):
                    raise ValueError(str(error)) from None
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise RequestError("the body is not JSON", code="malformed") from None


def _check_lengths(body: dict[str, Any], limit: int | None) -> None:
    """Refuse prompts of too many ids, and stop strings that are too long, before anything looks into them."""
    for name in ("prompt", "input"):
        prompt = body.get(name)
        if limit is None or not isinstance(prompt, list) or not prompt:
            continue
        lists = (
            [prompt]
            if isinstance(prompt[0], int)
            else [p for p in prompt[:MAX_PROMPTS] if isinstance(p, list)]
        )
        longest = max(map(len, lists), default=0)
        if longest > limit:
            raise RequestError(
                f"{name!r} has {longest} tokens; this model accepts at most {limit}",
                param=name,
                code="context_length_exceeded",
            )
    stop = body.get("stop")
    stops = stop if isinstance(stop, list) else [stop]
    if any(isinstance(s, str) and len(s) > MAX_STOP for s in stops[:100]):
        raise RequestError(f"'stop' may hold strings of at most {MAX_STOP} characters", param="stop")


def _salt(salt: object) -> str | None:
    if salt is None or (isinstance(salt, str) and len(salt) <= MAX_SALT):
        return salt
    raise RequestError(f"'cache_salt' must be a string of at most {MAX_SALT} characters", param="cache_salt")


async def _read(request: Request) -> bytes:
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BODY:
                    raise _refused(f"the body has more than {MAX_BODY} bytes", "body-too-large", 413)
                parts.append(part)
    except ClientDisconnect:
        raise RequestError("the client left before its request was complete") from None
    except TimeoutError:
        raise _refused(f"the body did not arrive within {BODY_SECONDS:.0f} s", "timeout", 408) from None
    return b"".join(parts)


def _refused(message: str, code: str, status: int) -> RequestError:
    error = RequestError(message, code=code)
    error.status = status
    return error
