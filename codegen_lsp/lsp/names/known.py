"""What is known of the names of a document, from itself and from other files of its workspace. Plain data."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from codegen_lsp.lsp.names import standard
from codegen_lsp.lsp.names.values import BUILTIN, STANDARD, Members, Value

_OPEN_BUILTINS = frozenset(["object", "type", "super", "property"])
"""Classes of which a value has more members than the class."""


@dataclass(frozen=True, slots=True)
class KnownNames:
    """The names at a document's margin, and the members of the classes and modules that its values have."""

    path: str = ""
    """Path of the document. The keys of the document's own classes start with this path and a colon."""
    scope: Mapping[str, Value] = field(default_factory=dict)
    members: Mapping[str, Members] = field(default_factory=dict)

    def members_of(self, value: Value | None) -> Members | None:
        """Return the members of a value; None if they are not known."""
        if value is None or value.kind == "function" or not value.key:
            return None
        if value.key.startswith(BUILTIN):
            return _of_builtin(value.key.removeprefix(BUILTIN))
        if value.key.startswith(STANDARD):
            return standard.members_of_standard(value.key.removeprefix(STANDARD))
        return self.members.get(value.key)

    def member(self, value: Value | None, name: str) -> Value | None:
        """Return what a member of a value is; None if that is not known."""
        members = self.members_of(value)
        return members.values.get(name) if members is not None else None


@dataclass(frozen=True, slots=True)
class ForeignNames:
    """What other files of the workspace say about the names of a document."""

    starred: frozenset[str] | None = None
    """The names that its star imports bring; None if they are not known."""
    known: KnownNames = field(default_factory=KnownNames, compare=False)
    """The names of the document and of these files, when they were last read."""


NO_NAMES = ForeignNames()


def builtin(name: str) -> Value | None:
    """Return a built-in class by its name; None if there is none."""
    if name in _OPEN_BUILTINS or not isinstance(getattr(builtins, name, None), type):
        return None
    return Value("class", BUILTIN + name)


@cache
def _of_builtin(name: str) -> Members | None:
    found = getattr(builtins, name, None)
    return Members(dict.fromkeys(dir(found))) if isinstance(found, type) else None
