"""Read the result of a program that must not be trusted: plain values only, which have no methods of the program.

An object whose `__eq__` is always true, or whose `__reduce__` names a function, is not plain data.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

_ALLOWED = {
    "builtins": {
        "bool",
        "int",
        "float",
        "complex",
        "str",
        "bytes",
        "bytearray",
        "list",
        "tuple",
        "dict",
        "set",
    }
    | {"frozenset", "range", "slice"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _ALLOWED.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return super().find_class(module, name)


def load(content: bytes) -> Any:
    """Return the value in a pickle.

    Raises:
        Exception: it is not a pickle, or holds anything but plain values.
    """
    return _PlainUnpickler(io.BytesIO(content)).load()
