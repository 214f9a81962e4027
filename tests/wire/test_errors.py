"""The tree of exceptions that the docstring draws is the one that the code has."""

from __future__ import annotations

import importlib
import pkgutil
import re

import codegen_lsp.wire
from codegen_lsp.wire import errors
from codegen_lsp.wire.errors import CodegenError


def drawn() -> dict[str, str]:
    """Return each exception that the docstring draws, with its base."""
    parents: dict[str, str] = {}
    stack: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([│├└─ ]*)([A-Z]\w+Error)\b", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        stack = [*stack[:depth], match[2]]
        if depth:
            parents[match[2]] = stack[depth - 1]
    return parents


def derived(kind: type[CodegenError]) -> dict[str, str]:
    parents: dict[str, str] = {}
    for each in kind.__subclasses__():
        if each.__module__.startswith("codegen_lsp.wire"):
            parents[each.__name__] = kind.__name__
            parents |= derived(each)
    return parents


def test_the_tree_in_the_docstring_is_true() -> None:
    for module in pkgutil.iter_modules(codegen_lsp.wire.__path__):
        importlib.import_module(f"codegen_lsp.wire.{module.name}")
    assert drawn() == derived(CodegenError)
