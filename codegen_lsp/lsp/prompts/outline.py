"""Read the imports and definitions of a text, for the header of a prompt.

Knows each grammar's names for imports, classes and functions, and what a stub of one looks like: signature and
documentation, without the body. Outlines are pure functions of a text, and cached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tree_sitter import Node

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.lexed_cursor import open_brackets
from codegen_lsp.lsp.code.lexer import CLOSING
from codegen_lsp.lsp.code.syntax import FUNCTIONS, decode, encode, parse

_IMPORTS = frozenset(
    [
        "import_statement",
        "import_from_statement",
        "future_import_statement",
        "preproc_include",
        "using_declaration",
        "package_clause",
        "package_declaration",
        "import_declaration",
    ]
)
_CLASSES = frozenset(
    [
        "class_definition",
        "class_declaration",
        "abstract_class_declaration",
        "class_specifier",
        "struct_specifier",
        "interface_declaration",
        "enum_declaration",
        "record_declaration",
        "namespace_definition",
    ]
)
_WHOLE = frozenset(["type_declaration", "type_definition", "enum_specifier", "struct_specifier"])
"""Nodes that are shown as they are if they are short."""
_PROTOTYPES = frozenset(["declaration", "field_declaration"])
_WRAPPERS = frozenset(
    [
        "decorated_definition",
        "template_declaration",
        "export_statement",
        "lexical_declaration",
        "variable_declaration",
        "variable_declarator",
    ]
)
_TRANSPARENT = frozenset(
    [
        "ERROR",
        "block",
        "if_statement",
        "else_clause",
        "try_statement",
        "except_clause",
        "preproc_ifdef",
        "preproc_if",
        "preproc_else",
        "linkage_specification",
        "declaration_list",
        "labeled_statement",
        "compound_statement",
        "statement_list",
        "statement_block",
        "method_definition",
    ]
)
_REQUIRES = frozenset(["lexical_declaration", "variable_declaration"])


@dataclass(frozen=True, slots=True)
class Definition:
    """A class or function, as much of it as a reader needs to use it."""

    name: str
    signature: str
    """Decorators and signature as in the source, indentation included."""
    documentation: str = ""
    """Its docstring or the comment above it, as in the source, indentation included."""
    opener: str = ""
    """What is between the signature and the body: ` {`, or nothing after Python's colon."""
    open: bool = False
    """Whether the text ends within it, so that what follows the text is its body."""
    members: tuple[Definition, ...] = ()
    """A class's methods; of a function only what is open."""
    whole: bool = False
    """Whether the signature is the whole definition: a prototype, a type."""

    @property
    def opening(self) -> str:
        """Signature and documentation, with the body to follow."""
        if self.opener:
            return _join(self.documentation, self.signature + self.opener)
        return _join(self.signature, self.documentation)

    def stub(self, *, brief: bool = False) -> str:
        """Return signature and documentation without the body; if brief, only the documentation's first line.

        `int add(int a, int b) {…}` becomes `int add(int a, int b);`, and Python's `def f():` becomes `def f(): ...`.
        """
        documentation = _first_line(self.documentation) if brief else self.documentation
        if self.opener:
            ending = self.opener if self.members else "" if self.whole else ";"
            head = _join(documentation, self.signature + ending)
            tail = lines.leading(self.signature) + "}" if self.members else ""
        else:
            bare = not documentation and not self.members and not self.whole
            head = _join(self.signature + (" ..." if bare else ""), documentation)
            tail = ""
        return _join(head, *(m.stub(brief=brief) for m in self.members), tail)


@dataclass(frozen=True, slots=True)
class Outline:
    """The imports of a text, and its definitions in order."""

    imports: tuple[str, ...] = ()
    definitions: tuple[Definition, ...] = ()

    def enclosing(self) -> tuple[Definition, ...]:
        """Return the definitions within which the text ends, outermost first."""
        definitions: list[Definition] = []
        level = self.definitions
        while inner := next((d for d in reversed(level) if d.open), None):
            definitions.append(inner)
            level = inner.members
        return tuple(definitions)


@lru_cache(maxsize=16)
def outline(language: str, text: str, following: str | None = None) -> Outline:
    """Return the outline of a text, of which the last definition may be unfinished.

    `following` is the indentation of the line that comes next: a Python definition is open when that line
    belongs to its body. None says that nothing is open. Without a grammar the outline is empty.
    """
    data = encode(text)
    tree = parse(language, data + encode(_ending(language, text, following)))
    if tree is None:
        return Outline()
    reader = OutlineReader(language, data, following)
    return Outline(tuple(reader.imports(tree.root_node)), tuple(reader.definitions(tree.root_node)))


def _ending(language: str, text: str, following: str | None) -> str:
    """Return the text that completes a text that was cut off, so that the parser sees what was open.

    `def f(a,` in Python is completed by `)` and a line end, `int f() { if (x) {` in C by a line end and `}}`.
    """
    if language != "python":
        return "\n" + "}" * len(open_brackets(text, language, "{"))
    if following is None:
        return ""
    last = max(text.rfind("\ndef "), text.rfind(" def "), text.rfind("\nclass "))
    closers = "".join(CLOSING[b] for b in reversed(open_brackets(text[last + 1 :], language)))
    ending = closers + "\n" if closers else f"\n{following}pass\n"
    width = len(following.expandtabs(8))
    for line in reversed(text.split("\n")):
        if line.strip() and lines.columns(line) < width:
            width = lines.columns(line)
            ending += (
                f"{lines.leading(line)}except Exception: pass\n" if line.strip().startswith("try:") else ""
            )
        if width == 0:
            break
    return ending


_DEPTH = 40
"""Levels of nesting that are looked into."""
_LONG = 600
"""Characters past which an import or a type isn't shown whole."""


class OutlineReader:
    """Walks one tree; lives as long as one call of `outline`."""

    def __init__(self, language: str, data: bytes, following: str | None) -> None:
        self._python = language == "python"
        self._data = data
        self._following = following

    def imports(self, node: Node, depth: int = 0) -> Iterator[str]:
        """Yield the imports at the top of a file, also within conditions."""
        for child in node.named_children:
            if child.type in _TRANSPARENT and depth < _DEPTH:
                yield from self.imports(child, depth + 1)
            elif child.type in _IMPORTS or child.type in _REQUIRES:
                text = child.text or b"" if child.end_byte - child.start_byte <= _LONG else b""
                required = child.type in _IMPORTS or b"= require(" in text
                if text and required and child.end_byte <= len(self._data):
                    yield decode(text).rstrip("\n")

    def definitions(self, node: Node, depth: int = 0, wrapper: Node | None = None) -> Iterator[Definition]:
        """Yield the definitions below a node, in order.

        Wrappers (decorators, templates, `export`) belong to the definition inside them; conditions and blocks
        are looked through: `if x:␤    def f(): …` yields `f`.
        """
        for child in node.named_children if depth < _DEPTH else ():
            outer = wrapper or child
            if child.type in _WHOLE and self._is_short(child):
                if child.type != "struct_specifier" or child.child_by_field_name("body") is not None:
                    yield self._shown_whole(outer)
            elif child.type in FUNCTIONS or child.type in _CLASSES:
                if child.child_by_field_name("body") is not None:
                    yield self._definition(child, outer, depth)
            elif child.type in _PROTOTYPES:
                if (child.text or b"").rstrip().endswith(b");") and len(child.text or b"") <= _LONG:
                    yield self._shown_whole(child)
            elif child.type in _WRAPPERS:
                yield from self.definitions(child, depth + 1, outer)
            elif child.type in _TRANSPARENT:
                yield from self.definitions(child, depth + 1)

    def _is_short(self, node: Node) -> bool:
        """Return whether a type holds data only and can be shown as it is."""
        text = node.text or b""
        return len(text) <= _LONG and node.end_byte <= len(self._data) and b") {" not in text

    def _shown_whole(self, node: Node) -> Definition:
        text = self._indent(node) + decode(node.text or b"")
        return Definition(name_of(node), text, _comment_above(node), opener=" {", whole=True)

    def _definition(self, node: Node, outer: Node, depth: int) -> Definition:
        body = node.child_by_field_name("body")
        assert body is not None
        indent = self._indent(outer)
        is_open = self._following is not None and node.end_byte > len(self._data)
        colon = next((c for c in node.children if c.type == ":" and c.end_byte <= body.start_byte), None)
        end = colon.end_byte if self._python and colon is not None else body.start_byte
        members = tuple(self.definitions(body, depth + 1)) if node.type in _CLASSES or is_open else ()
        if node.type in FUNCTIONS:
            members = tuple(m for m in members if m.open)
        name = node.child_by_field_name("name")
        return Definition(
            name=decode(name.text or b"") if name is not None else "",
            signature=indent + decode(self._data[outer.start_byte : end]).rstrip(),
            documentation=self._docstring(body) if self._python else _comment_above(outer),
            opener="" if self._python else " {",
            open=is_open,
            members=members,
        )

    def _docstring(self, body: Node) -> str:
        first = body.named_children[0] if body.named_children else None
        if first is None or first.type != "expression_statement" or first.children[0].type != "string":
            return ""
        return self._indent(first) + decode(first.children[0].text or b"")

    def _indent(self, node: Node) -> str:
        start = self._data.rfind(b"\n", 0, node.start_byte) + 1
        return lines.leading(decode(self._data[start : node.start_byte]))


def name_of(node: Node) -> str:
    """Return the name that a node declares: `f` of `int *f(void);`, `T` of `type T struct {…}`."""
    for _ in range(_DEPTH):
        inner = node.child_by_field_name("name") or node.child_by_field_name("declarator")
        if inner is None and node.type == "type_declaration" and node.named_children:
            inner = node.named_children[0]
        if inner is None:
            break
        node = inner
    return decode(node.text or b"") if node.type.endswith("identifier") else ""


def _comment_above(node: Node) -> str:
    comment: list[str] = []
    row, before = node.start_point.row, node.prev_sibling
    while before is not None and "comment" in before.type and before.end_point.row == row - 1:
        comment.insert(0, " " * before.start_point.column + decode(before.text or b""))
        row, before = before.start_point.row, before.prev_sibling
    return "\n".join(comment)


def _first_line(documentation: str) -> str:
    """Return the first line, with the quotes or comment mark that end it if lines below it were cut away."""
    first, _, remainder = documentation.partition("\n")
    if not remainder:
        return documentation
    start = first.lstrip(" \t")
    quote = next((q for q in ('"""', "'''") if q in start[:5]), None)
    if quote is not None:
        return first.rstrip() + quote if start.rstrip() not in (quote, "r" + quote) else ""
    if start.startswith("/*"):
        return first.rstrip() + " */" if start.strip("/* \t") else ""
    return first


def _join(*parts: str) -> str:
    return "\n".join(p for p in parts if p)
