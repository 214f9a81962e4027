"""Read what a text imports, in each language's own words. Pure: `resolution` looks for the files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from tree_sitter import Node

from codegen_lsp.lsp.code.syntax import decode, encode, parse

MAX_IMPORTS = 200
"""Number of imports of a file that are looked at."""
MAX_NAMES = 2000
"""Number of names that all imports of a file together may have."""
_STEPS = 20_000
"""Number of nodes of a tree that are looked at."""
_LONGEST = 8000
"""Bytes of the longest import that is read: to list its names takes a time that grows with the square of their
number."""
_LONGEST_MODULE = 500
"""Characters of the longest name of a module, each part of which is a folder to look for."""
_DIALECTS = {
    "javascriptreact": "javascript",
    "typescript": "javascript",
    "typescriptreact": "javascript",
    "cpp": "c",
}
_LOOKED_INTO = frozenset(
    [
        *("module", "program", "translation_unit", "source_file", "ERROR", "block", "statement_block"),
        *("if_statement", "else_clause", "elif_clause", "try_statement", "except_clause", "finally_clause"),
        *("function_definition", "class_definition", "decorated_definition", "with_statement"),
        *("preproc_ifdef", "preproc_if", "preproc_else", "linkage_specification", "declaration_list"),
        *("namespace_definition", "lexical_declaration", "variable_declaration", "import_spec_list"),
        *("function_declaration", "body", "expression_statement"),
    ]
)


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a module, a header, or a package."""

    module: str
    """As it is written: `a.b`, `./lib/x`, `sub/x.h`, `example.com/m/pkg`."""
    names: tuple[tuple[str, str], ...] = ()
    """Pairs of an imported name and the name that it has here."""
    star: bool = False
    """Whether every name of the module is visible here."""
    alias: str = ""
    """What the module itself is called here; empty if it has no name."""
    level: int = 0
    """Number of dots before a relative Python module."""


def family(language: str) -> str:
    """Return the language that a language shares its imports with: JavaScript for TypeScript, C for C++."""
    return _DIALECTS.get(language, language)


def imported_names(imports: Iterable[Import]) -> Iterator[str]:
    """Yield what names of modules are called where they are imported."""
    return (local for item in imports for _, local in item.names)


def imported_modules(imports: Iterable[Import]) -> Iterator[str]:
    """Yield the names that stand for modules: `a` of `import a.b`."""
    return (item.alias.partition(".")[0] for item in imports if item.alias)


@lru_cache(maxsize=48)
def imports_of(language: str, text: str) -> tuple[Import, ...]:
    """Return the imports of a text in order; none without a grammar for its language."""
    tree = parse(language, encode(text)) if family(language) in _READERS else None
    return imports_in(language, tree.root_node) if tree is not None else ()


def imports_in(language: str, root: Node) -> tuple[Import, ...]:
    """Return the imports of a parsed text."""
    read = _READERS.get(family(language))
    if read is None:
        return ()
    imports: list[Import] = []
    names = 0
    for node in _nodes(root):
        if node.end_byte - node.start_byte <= _LONGEST:
            fresh = [item for item in read(node) if len(item.module) + item.level <= _LONGEST_MODULE]
            imports += fresh
            names += sum(len(item.names) for item in fresh)
        if len(imports) >= MAX_IMPORTS or names > MAX_NAMES:
            break
    return tuple(dict.fromkeys(imports[:MAX_IMPORTS]))


def _nodes(root: Node) -> Iterator[Node]:
    """Yield the nodes in which imports are, in order."""
    todo = [root]
    for _ in range(_STEPS):
        if not todo:
            return
        node = todo.pop()
        yield node
        if node.type in _LOOKED_INTO:
            todo.extend(reversed(node.named_children))


def _text(node: Node | None) -> str:
    return decode(node.text or b"") if node is not None else ""


def _field(node: Node, name: str) -> str:
    return _text(node.child_by_field_name(name))


def _unquoted(node: Node | None) -> str:
    return _text(node).strip("\"'`<>")


# Python ------------------------------------------------------------------------------------------------------


def _python(node: Node) -> Iterator[Import]:
    if node.type == "import_statement":
        for child in node.named_children:
            if child.type == "dotted_name":
                yield Import(_text(child), alias=_text(child))
            elif child.type == "aliased_import":
                yield Import(_field(child, "name"), alias=_field(child, "alias"))
    elif node.type == "import_from_statement":
        source = node.child_by_field_name("module_name")
        written = _text(source)
        module = written.lstrip(". ")
        level = written[: len(written) - len(module)].count(".")
        names = tuple(_python_name(child) for child in node.children_by_field_name("name"))
        star = any(child.type == "wildcard_import" for child in node.named_children)
        yield Import(module, names, star, level=level)


def _python_name(node: Node) -> tuple[str, str]:
    if node.type == "aliased_import":
        return _field(node, "name"), _field(node, "alias")
    return _text(node), _text(node)


# JavaScript and TypeScript -----------------------------------------------------------------------------------


def _javascript(node: Node) -> Iterator[Import]:
    source = node.child_by_field_name("source")
    if node.type == "import_statement" and source is not None:
        clause = next((c for c in node.named_children if c.type == "import_clause"), None)
        yield from _clause(clause, _unquoted(source)) if clause is not None else ()
    elif node.type == "export_statement" and source is not None:
        clause = next((c for c in node.named_children if c.type == "export_clause"), None)
        names = tuple(_specifiers(clause)) if clause is not None else ()
        yield Import(_unquoted(source), names, star=not names)
    elif node.type == "variable_declarator":
        yield from _required(node)
    elif node.type in ("lexical_declaration", "variable_declaration"):
        for child in node.named_children:
            yield from _required(child)


def _clause(clause: Node, module: str) -> Iterator[Import]:
    for child in clause.named_children:
        if child.type == "identifier":
            yield Import(module, (("default", _text(child)),))
        elif child.type == "namespace_import":
            yield Import(module, alias=_text(child.named_children[-1]) if child.named_children else "")
        elif child.type == "named_imports":
            yield Import(module, tuple(_specifiers(child)))


def _specifiers(node: Node) -> Iterator[tuple[str, str]]:
    for child in node.named_children:
        name = _field(child, "name")
        if name:
            yield name, _field(child, "alias") or name


def _required(node: Node) -> Iterator[Import]:
    """Yield the import of `const {a, b: c} = require('./x')`."""
    value = node.child_by_field_name("value")
    if value is None or value.type != "call_expression" or _field(value, "function") != "require":
        return
    arguments = value.child_by_field_name("arguments")
    string = arguments.named_children[0] if arguments is not None and arguments.named_children else None
    target = node.child_by_field_name("name")
    if string is None or string.type != "string" or target is None:
        return
    if target.type == "identifier":
        yield Import(_unquoted(string), alias=_text(target))
        return
    names = []
    for child in target.named_children:
        if child.type == "pair_pattern":
            names.append((_field(child, "key"), _field(child, "value")))
        elif child.type == "shorthand_property_identifier_pattern":
            names.append((_text(child), _text(child)))
    yield Import(_unquoted(string), tuple(names))


# C, C++, Go, Java --------------------------------------------------------------------------------------------


def _c(node: Node) -> Iterator[Import]:
    path = node.child_by_field_name("path") if node.type == "preproc_include" else None
    if path is not None and path.type == "string_literal":
        yield Import(_unquoted(path), star=True)


def _go(node: Node) -> Iterator[Import]:
    specs = [node] if node.type == "import_spec" else []
    if node.type == "import_declaration":
        specs = [child for child in node.named_children if child.type == "import_spec"]
        lists = [child for child in node.named_children if child.type == "import_spec_list"]
        specs += [spec for each in lists for spec in each.named_children if spec.type == "import_spec"]
    for spec in specs:
        path, name = _unquoted(spec.child_by_field_name("path")), _field(spec, "name")
        alias = re.sub(r"\Av\d+\Z", "", path.rpartition("/")[2]) or path.split("/")[-2:][0]
        yield Import(path, star=name == ".", alias="" if name in (".", "_") else name or alias)


def _java(node: Node) -> Iterator[Import]:
    if node.type != "import_declaration":
        return
    name = next((_text(c) for c in node.named_children if c.type in ("scoped_identifier", "identifier")), "")
    if any(child.type == "asterisk" for child in node.named_children):
        yield Import(name, star=True)
        return
    parts = name.split(".")
    types = [n for n, part in enumerate(parts) if part[:1].isupper()]
    if types:
        kind = parts[types[0]]
        yield Import(".".join(parts[: types[0]]), ((kind, kind),))


_Reader = Callable[[Node], Iterator[Import]]
_READERS: dict[str, _Reader] = {
    "python": _python,
    "javascript": _javascript,
    "c": _c,
    "go": _go,
    "java": _java,
}
