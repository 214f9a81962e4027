"""Read what a source file offers to other files: its definitions by name, with the values and fields that a header
of the same file's prompt leaves out. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from tree_sitter import Node

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.syntax import decode, encode, parse
from codegen_lsp.lsp.context.imports import Import, imported_modules, imported_names, imports_in
from codegen_lsp.lsp.prompts.outline import Definition, OutlineReader, name_of

_ASSIGNMENTS = frozenset(["assignment", "type_alias_statement"])
_VALUES = frozenset(
    [
        *("const_declaration", "var_declaration", "preproc_def", "preproc_function_def"),
        *("field_declaration", "field_definition", "public_field_definition", "constant_declaration"),
        *("alias_declaration", "expression_statement", "type_alias_statement"),
        *(
            "lexical_declaration",
            "function_signature",
            "abstract_method_signature",
            "property_signature",
            "method_signature",
        ),
    ]
)
_TYPES = frozenset(["interface_declaration", "enum_declaration", "type_alias_declaration"])
"""Types of TypeScript that are shown whole if they are short; Java's are classes with bodies of their own."""
_SHORT = 160
"""Characters of the longest value that is shown."""
_ATTRIBUTES = 12
"""Number of attributes of `self` that are shown of a class."""
_ATTRIBUTE = re.compile(r"\s*self\.(\w+)")
_PROPERTY = re.compile(r"\s*@(?:[\w.]*property|\w+\.setter)\b")
_FUNCTION_VALUES = frozenset(["arrow_function", "function_expression", "class", "call_expression"])


@dataclass(frozen=True, slots=True)
class Exports:
    """What a file offers to files that import it."""

    definitions: tuple[Definition, ...] = ()
    imports: tuple[Import, ...] = ()
    """Its own imports: a package offers what it imports."""
    is_open: bool = False
    """Whether it may offer names that can't be seen, by `__getattr__` or `globals()`."""

    def named(self, name: str) -> tuple[Definition, ...]:
        """Return the definitions of a name, such as the prototype and the macro of one."""
        return tuple(d for d in self.definitions if d.name == name)

    @property
    def names(self) -> frozenset[str]:
        """Every name that it defines or imports."""
        defined = (d.name for d in self.definitions if d.name)
        return frozenset([*defined, *imported_names(self.imports), *imported_modules(self.imports)])


@lru_cache(maxsize=48)
def exports_of(language: str, text: str) -> Exports:
    """Return what a text offers; nothing without a grammar for its language."""
    data = encode(text)
    tree = parse(language, data)
    if tree is None:
        return Exports()
    definitions = tuple(_distinct(_ExportsReader(language, data).definitions(tree.root_node)))
    is_open = language == "python" and ("__getattr__" in text or "globals()" in text)
    return Exports(definitions, imports_in(language, tree.root_node), is_open)


def _distinct(definitions: Iterator[Definition]) -> Iterator[Definition]:
    """Yield the first definition of each type: TypeScript's are read whole and as a head with members."""
    types: set[str] = set()
    for definition in definitions:
        if definition.whole or definition.name not in types:
            yield definition
        if definition.whole:
            types.add(definition.name)


class _ExportsReader(OutlineReader):
    """Reads definitions with the values between them, and a Python class with its attributes."""

    def __init__(self, language: str, data: bytes) -> None:
        super().__init__(language, data, None)
        self._typescript = language.startswith("typescript")

    def definitions(self, node: Node, depth: int = 0, wrapper: Node | None = None) -> Iterator[Definition]:
        """Yield values first, then the classes and functions below a node."""
        if wrapper is None:
            for child in node.named_children:
                yield from self._values(child)
        if wrapper is None and self._typescript:
            for child in node.named_children:
                inner = child.child_by_field_name("declaration") or child
                if inner.type in _TYPES and self._is_short(inner):
                    yield replace(self._shown_whole(child), name=name_of(inner))
        yield from super().definitions(node, depth, wrapper)

    def _values(self, node: Node) -> Iterator[Definition]:
        inner = node
        if node.type == "export_statement":
            inner = node.child_by_field_name("declaration") or node
        if inner.type not in _VALUES or node.end_byte - node.start_byte > _SHORT:
            return
        if inner.type == "field_declaration" and (node.text or b"").rstrip().endswith(b");"):
            return  # a prototype, which is a definition
        value = inner
        if inner.type == "expression_statement":
            value = inner.named_children[0] if inner.named_children else inner
            if value.type not in _ASSIGNMENTS:
                return
        names = [name for name in _bound(value) if name]
        if names:
            text = self._indent(node) + decode(node.text or b"").rstrip()
            yield Definition(names[0], text, opener="" if self._python else " {", whole=True)

    def _definition(self, node: Node, outer: Node, depth: int) -> Definition:
        definition = super()._definition(node, outer, depth)
        body = node.child_by_field_name("body")
        if not definition.name:  # C has it in the declarator, JavaScript's arrow function beside it
            name = name_of(node) or (name_of(node.parent) if node.parent is not None else "")
            definition = replace(definition, name=name)
        if not self._python or definition.name != "__init__" or body is None:
            return definition
        return replace(definition, members=tuple(self._attributes(body)))

    def _attributes(self, body: Node) -> Iterator[Definition]:
        """Yield the first assignment of each attribute of `self` in a body, as far as they are short."""
        names: set[str] = set()
        for child in body.named_children:
            value = child.named_children[0] if child.named_children else child
            target = value.child_by_field_name("left") if value.type == "assignment" else None
            name = decode(target.text or b"") if target is not None else ""
            if (
                name.startswith("self.")
                and name not in names
                and child.end_byte - child.start_byte < _SHORT // 2
            ):
                names.add(name)
                yield Definition("", self._indent(child) + decode(child.text or b""), whole=True)
            if len(names) >= _ATTRIBUTES:
                return


def _bound(node: Node) -> Iterator[str]:
    """Yield the names that a short declaration binds; none for a function, which is shown as one."""
    if node.type in _ASSIGNMENTS:
        target = node.child_by_field_name("left")
        if target is not None:
            yield decode(target.text or b"") if target.type in ("identifier", "type") else ""
        return
    for child in (node, *node.named_children):
        fields = ("name", "declarator", "property")
        name = next((f for field in fields if (f := child.child_by_field_name(field)) is not None), None)
        value = child.child_by_field_name("value")
        if name is not None and (value is None or value.type not in _FUNCTION_VALUES):
            while (
                inner := name.child_by_field_name("declarator") or name.child_by_field_name("name")
            ) is not None:
                name = inner
            yield decode(name.text or b"")


def bare(definition: Definition) -> Definition:
    """Return a definition without documentation and private members."""
    members = tuple(bare(m) for m in definition.members if not _is_private(m))
    return replace(definition, documentation="", members=members)


def _is_private(member: Definition) -> bool:
    name = member.name
    text = member.signature.lstrip()
    return (name.startswith("_") and name != "__init__") or text.startswith(("private ", "#", "self._"))


def listing(definition: Definition) -> str:
    """Return the head of a class with the names of its public members; empty if it has none.

    `class Response:␤    def read(self) -> bytes: …` becomes `class Response:␤    # read()`.
    """
    members = [m for m in definition.members if not _is_private(m)]
    names = dict.fromkeys(name for member in members for name in _names(member) if name)
    if not names:
        return ""
    mark = "//" if definition.opener else "#"
    line = f"{lines.leading(members[0].signature)}{mark} {', '.join(names)}"
    tail = [lines.leading(definition.signature) + "}"] if definition.opener else []
    return "\n".join([definition.signature + definition.opener, line, *tail])


def _names(member: Definition) -> list[str]:
    """Return the names that a member adds to its class: a method's with brackets, the attributes of a constructor."""
    if member.name == "__init__":
        targets = (_ATTRIBUTE.match(attribute.signature) for attribute in member.members)
        return [target[1] for target in targets if target is not None and not target[1].startswith("_")]
    is_value = member.whole or _PROPERTY.match(member.signature) is not None
    return [member.name if is_value or not member.name else f"{member.name}()"]


def variants(definition: Definition) -> tuple[str, ...]:
    """Return the texts that show a definition, the richest first: whole documentation, its first line, none."""
    texts = (definition.stub(), definition.stub(brief=True), bare(definition).stub())
    return tuple(dict.fromkeys(text.rstrip() for text in texts if text.strip()))
