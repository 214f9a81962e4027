"""What a file imports from its own workspace: the definitions of those names, and what they say about its names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from codegen_lsp.lsp.context.definitions import Exports, exports_of, listing, variants
from codegen_lsp.lsp.context.imports import Import, imports_of
from codegen_lsp.lsp.context.related import TYPE, WORD, bases_of, distances, result_types
from codegen_lsp.lsp.context.resolution import FileAccess, resolve, siblings
from codegen_lsp.lsp.prompts.others import FilePiece, PieceSource
from codegen_lsp.lsp.prompts.outline import Definition

DEPTH = 4
"""Number of re-exports that are followed from one file to the next."""
MAX_PIECES = 80
MAX_RELATED = 24
"""Number of definitions whose bases and types are followed."""
MAX_BASES = 3
"""Number of steps from a class to the bases of its bases."""
_ALL = re.compile(r"^__all__\s*(?::[^=\n]*)?\+?=\s*[\[(]([^\])]*)", re.MULTILINE)
_QUOTED = re.compile(r"[\"'](\w+)[\"']")
_RECEIVER = re.compile(r"func \(\w*\s*\*?(\w+)")
NEAR, RELATED, USED, UNUSED = 0, 1, 2, 3
_WHY = {
    NEAR: "{} is used near the cursor",
    RELATED: "{} is a base, or a type, of what is used near the cursor",
    USED: "{} is used in this file",
    UNUSED: "{} can be used in this file",
}


@dataclass(frozen=True, slots=True)
class Importer:
    """The file whose imports are followed."""

    language: str
    text: str
    near: str
    """The lines around the cursor."""
    line: int
    """Which of these lines the cursor is on, from 0."""
    path: str
    """Its real path."""
    root: str
    """The workspace folder that holds it."""


@dataclass(frozen=True, slots=True)
class _Ranked:
    path: str
    definition: Definition
    rank: int
    distance: int
    """From the cursor to where it is used, as `distances` has it."""
    number: int
    piece: FilePiece


class ImportedNames:
    """Follows the imports of one file; lives as long as one gathering."""

    def __init__(self, file: Importer, access: FileAccess, shown: Callable[[str], str]) -> None:
        """`shown` writes a real path as people read it."""
        self._file = file
        self._access = access
        self._shown = shown
        self._words = Counter(WORD.findall(file.text))
        self._near = distances(file.text, file.near, file.line)
        self._pieces: dict[tuple[str, str], _Ranked] = {}
        self._starred: set[str] | None = set()

    def follow(self) -> tuple[tuple[FilePiece, ...], frozenset[str] | None]:
        """Return the definitions of what is imported, the most useful first, and the names that star imports bring.

        None if it is not known which names these are.
        """
        file = self._file
        for item in imports_of(file.language, file.text):
            if item.star and file.language == "java":
                types = sorted(set(TYPE.findall(file.text)))
                item = replace(item, names=tuple((name, name) for name in types), star=False)
            self._follow_one(item)
        used = frozenset(TYPE.findall(file.text)) if file.language == "java" else frozenset[str]()
        for path in siblings(file.language, used, file.path, file.root, self._access):
            for definition in self._exports(path).definitions:
                if definition.name in self._words:
                    rank = NEAR if definition.name in self._near else USED
                    self._keep(path, definition, rank, definition.name, "package")
        self._follow_related()
        pieces = tuple(each.piece for each in self._ranked()[:MAX_PIECES])
        starred = None if self._starred is None else frozenset(self._starred)
        return pieces, starred

    def _ranked(self) -> list[_Ranked]:
        return sorted(self._pieces.values(), key=lambda each: (each.rank, each.distance, each.number))

    def _follow_related(self) -> None:
        """Take the bases of what is used near the cursor, and the types of its results and of its used members."""
        todo = [(each, 0) for each in self._ranked() if each.rank == NEAR][:MAX_RELATED]
        followed: set[tuple[str, str]] = set()
        for each, steps in todo:
            names = bases_of(each.definition)
            names += result_types(each.definition, self._near) if steps == 0 else ()
            for name in dict.fromkeys(names):
                if name == each.definition.name or (each.path, name) in followed:
                    continue
                followed.add((each.path, name))
                for path, definition in self._find(each.path, name, {each.path}):
                    self._keep(path, definition, RELATED, name, "import", each.distance)
                    is_new = steps < MAX_BASES and len(todo) < MAX_RELATED
                    todo += [(replace(each, path=path, definition=definition), steps + 1)] if is_new else []

    def _follow_one(self, item: Import) -> None:
        file = self._file
        paths = resolve(file.language, item, file.path, file.root, self._access)
        if item.star:
            self._follow_star(paths)
        for name, local in item.names:
            taken = [self._follow_name(path, name, local, {path}) for path in paths]
            if not any(taken):
                self._follow_submodule(item, name, local)
        if item.alias:
            self._follow_module(paths, item.alias)

    def _follow_star(self, paths: tuple[str, ...]) -> None:
        """Take every name of a module that is imported as a whole, as C's headers are."""
        if not paths:
            self._starred = None
        for path in paths:
            names = self._star_names(path, {path})
            if names is None or self._starred is None:
                self._starred = None
            else:
                self._starred |= names
            for definition in self._exports(path).definitions:
                if definition.name and (names is None or definition.name in names):
                    self._add(path, definition, definition.name)

    def _star_names(self, path: str, visited: set[str]) -> set[str] | None:
        """Return the names that a star import brings; None if they can't be known."""
        exports = self._exports(path)
        listed = _ALL.findall(self._access.text(path) or "")
        if listed:
            return {name for part in listed for name in _QUOTED.findall(part)}
        if exports.is_open or self._access.text(path) is None:
            return None
        names = {name for name in exports.names if not name.startswith("_")}
        for item in exports.imports if self._file.language == "python" else ():
            for inner in self._resolve(item, path) if item.star else ():
                further = self._star_names(inner, visited | {inner}) if inner not in visited else set()
                if further is None or len(visited) > DEPTH:
                    return None
                names |= further
        return names

    def _follow_name(self, path: str, name: str, local: str, visited: set[str]) -> bool:
        """Take the definition of a name, wherever a package has it from; return whether there is one."""
        definitions = self._find(path, name, visited)
        for source, definition in definitions:
            self._add(source, definition, local)
        return bool(definitions)

    def _find(self, path: str, name: str, visited: set[str]) -> list[tuple[str, Definition]]:
        """Return the definitions of a name with their files, wherever a package has it from."""
        exports = self._exports(path)
        definitions = exports.named(name)
        if name == "default":
            definitions = tuple(d for d in exports.definitions if d.signature.startswith("export default"))
        if definitions:
            return [(path, definition) for definition in (*definitions, *self._methods(exports, name))]
        if len(visited) > DEPTH:
            return []
        for item in exports.imports:
            inner = next((source for source, alias in item.names if alias == name), name if item.star else "")
            for file in self._resolve(item, path) if inner else ():
                if file not in visited and (inner_definitions := self._find(file, inner, visited | {file})):
                    return inner_definitions
        return []

    def _methods(self, exports: Exports, name: str) -> Iterator[Definition]:
        """Yield the methods of a type of Go, which are defined beside it."""
        for method in exports.definitions if self._file.language == "go" else ():
            receiver = _RECEIVER.match(method.signature)
            if receiver is not None and receiver.group(1) == name:
                yield method

    def _follow_submodule(self, item: Import, name: str, local: str) -> None:
        """Take a name of a Python package that is a module: `from pkg import mod`."""
        if self._file.language != "python":
            return
        module = f"{item.module}.{name}" if item.module else name
        submodule = Import(module, alias=local, level=item.level)
        self._follow_module(self._resolve(submodule, self._file.path), local)

    def _follow_module(self, paths: tuple[str, ...], alias: str) -> None:
        """Take the members of a module that are used by its name: `mod.f(…)`."""
        use = re.compile(rf"(?<![\w.]){re.escape(alias)}\.(\w+)")
        used, near = set(use.findall(self._file.text)), set(use.findall(self._file.near))
        for path in paths:
            exports = self._exports(path)
            for definition in exports.definitions:
                if definition.name and not definition.name.startswith("_"):
                    rank = NEAR if definition.name in near else USED if definition.name in used else UNUSED
                    self._keep(path, definition, rank, f"{alias}.{definition.name}", "import")
            for name in sorted(used - {d.name for d in exports.definitions}):
                self._follow_name(path, name, f"{alias}.{name}", {path})

    def _exports(self, path: str) -> Exports:
        return exports_of(self._file.language, self._access.text(path) or "")

    def _resolve(self, item: Import, path: str) -> tuple[str, ...]:
        return resolve(self._file.language, item, path, self._file.root, self._access)

    def _rank(self, name: str, local: str) -> int:
        words = local.split(".")
        if all(word in self._near for word in words) and self._is_used(words[-1]):
            return NEAR
        return USED if name and self._is_used(words[-1]) else UNUSED

    def _is_used(self, word: str) -> bool:
        """Return whether a word occurs more often than in an import."""
        return self._words[word] > 1

    def _add(self, path: str, definition: Definition, local: str) -> None:
        rank = self._rank(definition.name, local)
        if self._file.language in ("c", "cpp", "go") and definition.name in self._words:
            rank = NEAR if definition.name in self._near else USED
        self._keep(path, definition, rank, local, "import")

    def _keep(
        self,
        path: str,
        definition: Definition,
        rank: int,
        local: str,
        source: PieceSource,
        distance: int | None = None,
    ) -> None:
        texts = variants(definition)
        key = (path, definition.signature)
        if not texts or path == self._file.path or (key in self._pieces and self._pieces[key].rank <= rank):
            return
        why = _WHY[rank].format(local)
        piece = FilePiece(self._shown(path), texts, source, why, listing(definition))
        if distance is None:
            distance = self._near.get(local.rpartition(".")[2], 0) if rank == NEAR else 0
        self._pieces[key] = _Ranked(path, definition, rank, distance, len(self._pieces), piece)
