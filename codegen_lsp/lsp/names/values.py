"""What is known of the value of an expression, and of the members of classes and modules. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

BUILTIN = "builtins."
"""The start of the keys of Python's built-in classes."""
STANDARD = "standard:"
"""The start of the keys of modules and classes of Python's standard library."""


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of the value of an expression."""

    kind: Literal["instance", "class", "module", "function"]
    key: str = ""
    """Of the class or module in `KnownNames.members`; empty if that is unknown."""
    of: Value | None = None
    """What a function returns, and what a container holds."""
    is_async: bool = False
    """Whether a call of the function is awaited."""

    @property
    def called(self) -> Value | None:
        """What a call returns."""
        if self.kind == "class":
            return Value("instance", self.key)
        return self.of if self.kind == "function" else None


@dataclass(frozen=True, slots=True)
class Members:
    """The members of a class or module."""

    values: Mapping[str, Value | None]
    """All of them by name, with their values as far as these are known; a property's is what it returns."""
    is_open: bool = False
    """Whether there may be more: a base or a module that is not known, `__getattr__`."""
    classes: tuple[str, ...] = ()
    """Of a class: its key and those of its bases."""


def is_private(name: str) -> bool:
    """Return whether a name is for the inside of its module or class: `_name`, not `__iter__`."""
    return name.startswith("_") and not name.endswith("__")
