"""Find out what the names of a document mean: follow its imports, bases and annotations through the workspace.

Knows Python alone. What lies outside of the workspace and of Python's standard library is not known, and a class with a
base that isn't known is open.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from codegen_lsp.lsp.context.imports import Import, imported_modules, imported_names
from codegen_lsp.lsp.context.resolution import FileAccess, resolve
from codegen_lsp.lsp.context.types.written import WrittenClass, WrittenModule, WrittenName, written_module
from codegen_lsp.lsp.names.expressions import Lookup, annotated, chain, value_of
from codegen_lsp.lsp.names.known import KnownNames
from codegen_lsp.lsp.names.standard import standard_member, standard_module
from codegen_lsp.lsp.names.values import STANDARD, Members, Value, is_private

MAX_CLASSES = 300
MAX_STEPS = 12
"""Number of imports, and of names in each other's values, that are followed from a name."""
_EMPTY_BASES = frozenset(["object", "Protocol", "Generic", "ABC", "Hashable", "Sized"])
"""Bases from outside of the workspace that add no members but those with underscores."""
_AWAITED = re.compile(r"(?:\w+\.)*(?:Awaitable|Coroutine)\b")
"""An annotation of what is awaited."""
_BASE_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "Enum": ("name", "value"),
    "IntEnum": (*dir(int), "name", "value"),
    "StrEnum": (*dir(str), "name", "value"),
    "NamedTuple": (*dir(tuple), "_asdict", "_fields", "_make", "_replace"),
}


def known_names(path: str, root: str, text: str, access: FileAccess) -> KnownNames:
    """Return what the names at the margin of the document `path` mean, and the members of the classes they lead to."""
    return _Graph(path, root, text, access).known()


class _Graph:
    """The names of the modules that one document leads to; lives as long as one call."""

    def __init__(self, path: str, root: str, text: str, access: FileAccess) -> None:
        self._path, self._root, self._text, self._access = path, root, text, access
        self._values: dict[tuple[str, str], Value | None] = {}
        self._classes: dict[str, tuple[str, WrittenClass]] = {}
        """Each class by its key, with its file."""
        self._members: dict[str, Members] = {}
        self._todo: deque[str] = deque()
        self._live = KnownNames(path, {}, _Members(self))
        self._steps = 0

    def known(self) -> KnownNames:
        """Return what was found out."""
        module = self._module(self._path)
        names = dict.fromkeys(
            [*module.names, *imported_names(module.imports), *imported_modules(module.imports)]
        )
        scope = {name: value for name in names if (value := self.value(self._path, name)) is not None}
        for value in scope.values():
            if value.kind == "module" and not value.key.startswith(STANDARD):
                self.members(value.key)
        while self._todo and len(self._members) < MAX_CLASSES:
            self.members(self._todo.popleft())
        return KnownNames(self._path, scope, dict(self._members))

    def members(self, key: str) -> Members | None:
        """Return the members of a class or module, as far as they are known so far."""
        if key in self._members:
            return self._members[key]
        if len(self._members) >= MAX_CLASSES:
            return None
        if key not in self._classes:
            return self._module_members(key)
        path, written = self._classes[key]
        values: dict[str, Value | None] = {}
        is_open, classes = written.is_open, [key]
        self._members[key] = Members(values, is_open=True)  # while it is being found out
        for base in written.bases:
            inherited = self._inherited(path, base)
            is_open = is_open or inherited is None or inherited.is_open
            values |= dict(inherited.values) if inherited is not None else {}
            classes += inherited.classes if inherited is not None else ()
        values |= {name: values.get(name) for name in written.members}
        lookup = partial(self._in_class, path, key)
        for name, member in written.members.items():
            if (
                member is not None
                and (value := self._meaning(member, path, f"{key}.{name}", lookup)) is not None
            ):
                values[name] = value
        self._members[key] = Members(values, is_open, tuple(dict.fromkeys(classes)))
        return self._members[key]

    def value(self, path: str, name: str) -> Value | None:
        """Return what a name at the margin of a module means."""
        if (path, name) not in self._values:
            if self._steps == MAX_STEPS:
                return None
            self._values[path, name] = None  # a name that leads to itself
            self._steps += 1
            self._values[path, name] = self._found(path, name)
            self._steps -= 1
        return self._values[path, name]

    def _found(self, path: str, name: str) -> Value | None:
        module = self._module(path)
        written = module.names.get(name)
        if written is not None and not (written.kind == "value" and written.expression == name):
            return self._meaning(written, path, f"{path}:{name}", partial(self.value, path))
        for item in module.imports:
            for source, local in item.names:
                if local == name and (value := self._imported(item, source, path)) is not None:
                    return value
            if item.alias and item.alias.partition(".")[0] == name:
                value = self._imported_module(item, path)
                if value is not None or "." not in item.alias:
                    return value
        for item in module.imports:
            for file in resolve("python", item, path, self._root, self._access) if item.star else ():
                if (value := self.value(file, name)) is not None:
                    return value
        return None

    def _imported_module(self, item: Import, path: str) -> Value | None:
        """Return the module that `import` binds to a name; None for a package of the workspace, by a dotted name."""
        if "." in item.alias:
            return standard_module(item.module.partition(".")[0])
        return self._file_of(item, path) or standard_module(item.module)

    def _file_of(self, item: Import, path: str) -> Value | None:
        """Return the module of the workspace that an import names, if there is one."""
        files = resolve("python", item, path, self._root, self._access)
        return Value("module", files[0]) if files else None

    def _imported(self, item: Import, source: str, path: str) -> Value | None:
        for file in resolve("python", item, path, self._root, self._access):
            if (value := self.value(file, source)) is not None:
                return value
        module = Import(f"{item.module}.{source}" if item.module else source, alias=source, level=item.level)
        own = self._file_of(module, path)
        return own if own is not None or item.level else standard_member(item.module, source)

    def _meaning(self, written: WrittenName, path: str, key: str, lookup: Lookup) -> Value | None:
        if written.kind == "class" and written.body is not None:
            self._classes.setdefault(key, (path, written.body))
            self._todo.append(key)
            return Value("class", key)
        said = annotated(written.annotation, lookup, self._live) if written.annotation else None
        if written.kind == "function":
            is_async = written.is_async or _AWAITED.match(written.annotation) is not None
            return Value("function", of=said, is_async=is_async)
        if said is None and written.expression:
            said = value_of(written.expression, lookup, self._live)
        return said

    def _in_class(self, path: str, key: str, name: str) -> Value | None:
        """Return what a name means in the methods of a class."""
        if name == "Self":
            return Value("class", key)
        return Value("instance", key) if name == "self" else self.value(path, name)

    def _inherited(self, path: str, base: str) -> Members | None:
        """Return the members that a base brings; None if it is not known."""
        name = base.partition("[")[0].strip()
        last = name.rpartition(".")[2]
        value = value_of(name, partial(self.value, path), self._live) if chain(name) else None
        is_own = value is not None and not value.key.startswith(STANDARD)
        if not is_own and (last in _EMPTY_BASES or last in _BASE_MEMBERS):
            return Members(dict.fromkeys(_BASE_MEMBERS.get(last, ())))
        members = self._live.members_of(value) if value is not None and value.kind == "class" else None
        if members is None or is_own:
            return members
        return replace(members, values={n: v for n, v in members.values.items() if not is_private(n)})

    def _module_members(self, path: str) -> Members | None:
        text = self._access.text(path) if path != self._path else self._text
        if text is None:
            return None
        module = written_module(text)
        values: dict[str, Value | None] = {}
        self._members[path] = Members(values, is_open=True)
        names = dict.fromkeys([*module.names, *imported_names(module.imports), *self._submodules(path)])
        values |= {name: self.value(path, name) for name in names}
        values |= dict.fromkeys(imported_modules(module.imports))
        is_open = module.is_open or any(item.star for item in module.imports)
        self._members[path] = Members(values, is_open)
        return self._members[path]

    def _submodules(self, path: str) -> Iterator[str]:
        if path.endswith(("__init__.py", "__init__.pyi")):
            for name in self._access.names(path.rpartition("__init__")[0]):
                yield name.partition(".")[0]

    def _module(self, path: str) -> WrittenModule:
        return written_module(self._text if path == self._path else self._access.text(path) or "")


class _Members(dict[str, Members]):
    """Finds the members of a class out when an expression asks for them."""

    def __init__(self, graph: _Graph) -> None:
        super().__init__()
        self._graph = graph

    def get(self, key: str, default: Members | None = None) -> Members | None:  # type: ignore[override]
        return self._graph.members(key) or default
