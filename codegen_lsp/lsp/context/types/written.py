"""Read what a module of Python writes of its names: classes with their members, functions, values, imports. Pure.

Each is kept as it is written; `graph` finds out what the annotations and expressions mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from tree_sitter import Node

from codegen_lsp.lsp.code.syntax import decode, encode, parse
from codegen_lsp.lsp.context.imports import Import, imports_in
from codegen_lsp.lsp.names.expressions import ATTRIBUTES

_LOOKED_INTO = frozenset(
    [
        *("if_statement", "else_clause", "elif_clause", "try_statement", "except_clause", "finally_clause"),
        *("with_statement", "for_statement", "while_statement", "match_statement", "case_clause"),
        *("block", "ERROR"),
    ]
)
_DYNAMIC = frozenset(["__getattr__", "__getattribute__"])
_PROPERTIES = re.compile(r"@(?:[\w.]*property|[\w.]*\.(?:setter|getter|deleter))\b")
_PARAMETERS = frozenset(["typed_parameter", "typed_default_parameter"])
_LONGEST = 2000
"""Bytes of the longest value that is kept."""


@dataclass(frozen=True, slots=True)
class WrittenName:
    """A name as a module writes it."""

    kind: Literal["class", "function", "value"]
    annotation: str = ""
    """Of a value, or of what a function returns."""
    expression: str = ""
    """What is assigned to a value."""
    body: WrittenClass | None = None
    """Of a class."""
    is_async: bool = False
    """Of a function."""


@dataclass(frozen=True, slots=True)
class WrittenClass:
    """A class as it is written."""

    bases: tuple[str, ...] = ()
    members: Mapping[str, WrittenName | None] = field(default_factory=dict)
    """Everything that its own text says it has; None for what is used of `self` only."""
    is_open: bool = False
    """Whether values of it may have other members than those of it and its bases."""


@dataclass(frozen=True, slots=True)
class WrittenModule:
    """The names of a module."""

    names: Mapping[str, WrittenName] = field(default_factory=dict)
    imports: tuple[Import, ...] = ()
    is_open: bool = False
    """Whether it may have names that can't be seen."""


@lru_cache(maxsize=64)
def written_module(text: str) -> WrittenModule:
    """Return the names of a module of Python; none if it can't be parsed in time."""
    tree = parse("python", encode(text))
    if tree is None:
        return WrittenModule(is_open=True)
    names: dict[str, WrittenName] = {}
    for name, written in _definitions(tree.root_node):
        names[name] = _merged(names.get(name), written)
    is_open = "__getattr__" in names or "globals()" in text
    return WrittenModule(names, imports_in("python", tree.root_node), is_open)


def _definitions(node: Node) -> Iterator[tuple[str, WrittenName]]:
    """Yield the names that the statements below a node bind, in order; those in conditions and blocks as well."""
    for child in node.named_children:
        if child.type in ("class_definition", "function_definition"):
            yield _definition(child, "")
        elif child.type == "decorated_definition":
            inner = child.child_by_field_name("definition")
            if inner is not None:
                decorators = "\n".join(
                    decode(c.text or b"") for c in child.named_children if c.type == "decorator"
                )
                yield _definition(inner, decorators)
        elif child.type == "expression_statement" and child.named_children:
            yield from _assigned(child.named_children[0])
        elif child.type in _LOOKED_INTO:
            yield from _definitions(child)


def _definition(node: Node, decorators: str) -> tuple[str, WrittenName]:
    name = _text(node, "name")
    if node.type == "class_definition":
        return name, WrittenName("class", body=_class(node))
    result = _text(node, "return_type")
    if _PROPERTIES.search(decorators):
        return name, WrittenName("value", annotation=result)
    is_async = any(child.type == "async" for child in node.children)
    return name, WrittenName("function", annotation=result, is_async=is_async)


def _assigned(node: Node) -> Iterator[tuple[str, WrittenName]]:
    """Yield the names that an assignment binds: `a` and `b` of `a, b = c`, with a value where it is one name."""
    if node.type != "assignment":
        return
    target = node.child_by_field_name("left")
    if target is None:
        return
    if target.type == "identifier":
        yield decode(target.text or b""), _value(node)
        right = node.child_by_field_name("right")
        if right is not None:
            yield from _assigned(right)  # a = b = c
    else:
        for inner in target.named_children:
            if inner.type == "identifier":
                yield decode(inner.text or b""), WrittenName("value")


def _value(node: Node) -> WrittenName:
    right = node.child_by_field_name("right")
    is_short = right is not None and right.end_byte - right.start_byte <= _LONGEST
    return WrittenName("value", _text(node, "type"), _text(node, "right") if is_short else "")


def _class(node: Node) -> WrittenClass:
    body = node.child_by_field_name("body")
    arguments = node.child_by_field_name("superclasses")
    bases: list[str] = []
    members: dict[str, WrittenName | None] = {}
    is_open = False
    for argument in arguments.named_children if arguments is not None else ():
        if argument.type == "keyword_argument":
            is_open = is_open or (
                _text(argument, "name") == "metaclass" and "ABCMeta" not in _text(argument, "value")
            )
        elif argument.type != "comment":
            bases.append(decode(argument.text or b""))
    if body is None:
        return WrittenClass(tuple(bases), members, is_open)
    for name, written in _definitions(body):
        members[name] = _merged(members.get(name), written)
    for function in _functions(body):
        for name, written in _attributes(function):
            members[name] = _merged(members.get(name), written)
    for name in ATTRIBUTES.findall(decode(body.text or b"")):
        members.setdefault(name, None)
    return WrittenClass(tuple(bases), members, is_open or not _DYNAMIC.isdisjoint(members))


def _functions(body: Node) -> Iterator[Node]:
    for child in body.named_children:
        node = child.child_by_field_name("definition") if child.type == "decorated_definition" else child
        if node is not None and node.type == "function_definition":
            yield node


def _attributes(function: Node) -> Iterator[tuple[str, WrittenName]]:
    """Yield the attributes of `self` that a method assigns, with their values or the annotations of its parameters."""
    parameters: dict[str, str] = {}
    listed = function.child_by_field_name("parameters")
    for parameter in listed.named_children if listed is not None else ():
        if parameter.type in _PARAMETERS:
            named = parameter.child_by_field_name("name") or parameter.named_children[0]
            parameters[decode(named.text or b"")] = _text(parameter, "type")
    todo = [function.child_by_field_name("body")]
    while todo:
        node = todo.pop(0)
        for child in node.named_children if node is not None else ():
            if child.type in _LOOKED_INTO:
                todo.append(child)
            elif child.type == "expression_statement" and child.named_children:
                yield from _attribute(child.named_children[0], parameters)


def _attribute(node: Node, parameters: Mapping[str, str]) -> Iterator[tuple[str, WrittenName]]:
    target = node.child_by_field_name("left") if node.type == "assignment" else None
    if target is None or target.type != "attribute" or _text(target, "object") != "self":
        return
    written = _value(node)
    if not written.annotation and written.expression in parameters:
        written = replace(written, annotation=parameters[written.expression], expression="")
    yield _text(target, "attribute"), written


def _merged(before: WrittenName | None, now: WrittenName) -> WrittenName:
    """Return what to keep of a name that is written twice: what is annotated, or the first that says something."""
    if before is None or (not before.annotation and now.annotation):
        return now
    if before.kind == "value" and not before.annotation and (now.kind != "value" or not _says(before)):
        return now
    return before


def _says(written: WrittenName) -> bool:
    return bool(written.annotation) or written.expression not in ("", "None", "...")


def _text(node: Node, name: str) -> str:
    child = node.child_by_field_name(name)
    return decode(child.text or b"") if child is not None else ""
