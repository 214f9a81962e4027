"""Say in words what a msgspec type accepts: for error messages about requests and options."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import ValidationError, inspect


def expectation(kind: Any) -> str:
    """Return what a type accepts, for a sentence with "must be".

    `Annotated[int, Meta(ge=1, le=16)] | None` gives "a whole number from 1 to 16".
    """
    if choices := choices_of(kind):
        return f"one of {', '.join(choices)}"
    info = inspect.type_info(kind)
    types = info.types if isinstance(info, inspect.UnionType) else (info,)
    return " or ".join(_words(t) for t in types if not isinstance(t, inspect.NoneType))


def choices_of(kind: Any) -> tuple[str, ...]:
    """Return the values of a `Literal` in their order, which msgspec does not keep; none for another type."""
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_args(plain) if get_origin(plain) is Literal else ()


def _words(info: inspect.Type) -> str:
    match info:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            return ("a whole number" if isinstance(info, inspect.IntType) else "a number") + _range(info)
        case inspect.StrType():
            return "a string" if not info.min_length else "a string that is not empty"
        case inspect.ListType() | inspect.VarTupleType():
            return "a list"
        case inspect.DictType():
            return "an object"
        case inspect.Metadata():
            return _words(info.type)
        case _:
            return "a value"


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    """Return the bounds of a number as words, empty without bounds."""
    if info.le is None:
        return f" of at least {_number(info.ge)}" if info.ge is not None else ""
    if info.gt is not None:
        return f" above {_number(info.gt)} and up to {_number(info.le)}"
    return (
        f" from {_number(info.ge)} to {_number(info.le)}"
        if info.ge is not None
        else f" up to {_number(info.le)}"
    )


def _number(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def place_of(error: ValidationError) -> str:
    """Return the outermost field that an error of msgspec is about, empty for the document itself.

    "Expected `int`, got `str` - at `$.stop[0]`" is about "stop".
    """
    match = re.search(r" - at `\$\.([^.\[`]+)[^`]*`$", str(error))
    return match[1] if match else ""
