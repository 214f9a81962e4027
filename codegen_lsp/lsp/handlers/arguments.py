"""Fields of a command's argument, which is plain JSON from any client."""

from __future__ import annotations

from typing import Any

from pygls.exceptions import JsonRpcInvalidParams


def field(arguments: tuple[Any, ...], name: str, kind: type) -> Any:
    """Return a field of the one object that a command takes; None if the field is absent.

    Raises:
        JsonRpcInvalidParams: the field or the argument has the wrong type.
    """
    if not arguments or arguments[0] is None:
        return None
    if not isinstance(arguments[0], dict):
        raise JsonRpcInvalidParams("the argument must be an object")
    value = arguments[0].get(name)
    if value is not None and not isinstance(value, kind):
        raise JsonRpcInvalidParams(f"{name!r} has the wrong type")
    return value
