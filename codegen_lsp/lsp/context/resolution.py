"""Find the files that an import means, among those of its own workspace.

Knows each language's layouts: packages, stubs and `src` folders of Python, extensions and index files of JavaScript
and TypeScript, include folders of C and C++, modules of Go, source roots of Java. Asks for files by their paths, and
walks over no folder.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

from codegen_lsp.lsp.context.imports import Import, family

ANCESTORS = 12
"""Number of folders above a file in which absolute imports are looked for."""
_BESIDES = ("", "src", "lib", "python")
_INCLUDES = ("", "include", "src", "inc")
_SCRIPTS = ("", ".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts")
_PACKAGE_FILES = 8
"""Number of files of a Go package that are read."""
_MODULE = re.compile(r"^module[ \t]+(\S+)", re.MULTILINE)
_PACKAGE = re.compile(r"^[ \t]*package[ \t]+([\w.]+)[ \t]*;", re.MULTILINE)


class FileAccess(Protocol):
    """What resolution needs to know of the file system."""

    def find(self, path: str) -> str | None:
        """Return the real path of a file that may be read; None if there is none."""
        ...

    def text(self, real: str) -> str | None:
        """Return the text of a file that `find` has found."""
        ...

    def names(self, folder: str) -> tuple[str, ...]:
        """Return the names in a folder."""
        ...


def resolve(language: str, item: Import, path: str, root: str, access: FileAccess) -> tuple[str, ...]:
    """Return the real paths of the files that an import in the file `path` means; several for a Go package.

    `root` is the workspace folder that holds `path`; nothing above it is looked at.
    """
    find = _FINDERS.get(family(language))
    return tuple(dict.fromkeys(find(item, path, root, access))) if find else ()


def siblings(
    language: str, names: frozenset[str], path: str, root: str, access: FileAccess
) -> tuple[str, ...]:
    """Return the files whose names are visible without an import: the package's others in Go and Java.

    Of a Java package only the files of these `names`.
    """
    folder = os.path.dirname(path)
    if language == "java":
        files = [_java_file(folder, name, path, access) for name in sorted(names)]
        return tuple(file for file in files if file is not None and file != path)
    if language == "go":
        return tuple(file for file in _go_files(folder, access) if file != path)
    del root
    return ()


def _above(path: str, root: str) -> Iterator[str]:
    """Yield the folders above a file, nearest first, up to the workspace folder."""
    folder = os.path.dirname(path)
    for _ in range(ANCESTORS):
        yield folder
        if folder == root or len(folder) <= len(root):
            return
        folder = os.path.dirname(folder)


def _first(paths: Iterator[str], access: FileAccess) -> Iterator[str]:
    """Yield the first of some paths that is a file."""
    for path in paths:
        real = access.find(path)
        if real is not None:
            yield real
            return


# Python ------------------------------------------------------------------------------------------------------


def python_module(base: str) -> Iterator[str]:
    """Yield the files that a module may be, given its path without an extension; stubs come first."""
    yield base + ".pyi"
    yield base + ".py"
    yield os.path.join(base, "__init__.pyi")
    yield os.path.join(base, "__init__.py")


def _python(item: Import, path: str, root: str, access: FileAccess) -> Iterator[str]:
    parts = item.module.split(".") if item.module else []
    if item.level:
        folder = os.path.dirname(path)
        for _ in range(item.level - 1):
            folder = os.path.dirname(folder)
        bases = [folder]
    elif parts[0] in sys.stdlib_module_names:
        return
    else:
        packages = (f for f in _above(path, root) if access.find(os.path.join(f, "__init__.py")) is None)
        bases = [os.path.join(folder, beside) for folder in packages for beside in _BESIDES]
    for base in bases:
        files = list(_first(python_module(os.path.normpath(os.path.join(base, *parts))), access))
        if not files and item.names:  # a namespace package: its modules are files, it itself is not
            files = [
                file
                for name, _ in item.names
                for file in _first(python_module(os.path.join(base, *parts, name)), access)
            ]
        if files:
            yield from files
            return


# JavaScript and TypeScript -----------------------------------------------------------------------------------


def _javascript(item: Import, path: str, root: str, access: FileAccess) -> Iterator[str]:
    if item.module.startswith("."):
        bases = [os.path.join(os.path.dirname(path), item.module)]
    elif item.module.startswith(("@/", "~/")):
        bases = [os.path.join(f, b, item.module[2:]) for f in _above(path, root) for b in ("", "src", "app")]
    else:
        return
    yield from _first((script for base in bases for script in _script(base)), access)


def _script(base: str) -> Iterator[str]:
    base = os.path.normpath(base)
    yield from (base + extension for extension in _SCRIPTS)
    stem, extension = os.path.splitext(base)
    if extension in (".js", ".jsx", ".mjs", ".cjs"):  # TypeScript imports a file by the name that it gets
        yield from (stem + other for other in _SCRIPTS[1:])
    yield from (os.path.join(base, "index" + other) for other in _SCRIPTS[1:])


# C and C++ ---------------------------------------------------------------------------------------------------


def _c(item: Import, path: str, root: str, access: FileAccess) -> Iterator[str]:
    folders = _above(path, root)
    paths = (os.path.join(f, include, item.module) for f in folders for include in _INCLUDES)
    yield from _first(paths, access)


# Go ----------------------------------------------------------------------------------------------------------


def _go(item: Import, path: str, root: str, access: FileAccess) -> Iterator[str]:
    for folder in _above(path, root):
        real = access.find(os.path.join(folder, "go.mod"))
        module = _MODULE.search(access.text(real) or "") if real is not None else None
        if module is None:
            continue
        name = module.group(1).strip('"')
        if item.module == name or item.module.startswith(name + "/"):
            yield from _go_files(os.path.join(folder, item.module[len(name) :].lstrip("/")), access)
        return


def _go_files(folder: str, access: FileAccess) -> list[str]:
    names = [n for n in access.names(folder) if n.endswith(".go") and not n.endswith("_test.go")]
    files = [access.find(os.path.join(folder, name)) for name in names[:_PACKAGE_FILES]]
    return [file for file in files if file is not None]


# Java --------------------------------------------------------------------------------------------------------


def _java(item: Import, path: str, root: str, access: FileAccess) -> Iterator[str]:
    folder = os.path.join(_source_root(path, root, access), *item.module.split("."))
    for name, _ in item.names:
        real = _java_file(folder, name, path, access)
        if real is not None:
            yield real


def _java_file(folder: str, name: str, path: str, access: FileAccess) -> str | None:
    """Return the file of a class, for a test also among the sources that it tests."""
    test, main = os.path.join("src", "test", "java"), os.path.join("src", "main", "java")
    for place in dict.fromkeys((folder, folder.replace(test, main))):
        real = access.find(os.path.join(place, name + ".java"))
        if real is not None and real != path:
            return real
    return None


def _source_root(path: str, root: str, access: FileAccess) -> str:
    """Return the folder that packages start in: the file's own, without its package's parts."""
    folder = os.path.dirname(path)
    package = _PACKAGE.search(access.text(path) or "")
    parts = package.group(1).split(".") if package is not None else []
    for part in reversed(parts):
        if os.path.basename(folder) != part or folder == root:
            break
        folder = os.path.dirname(folder)
    return folder


_FINDERS: dict[str, Callable[[Import, str, str, FileAccess], Iterator[str]]] = {
    "python": _python,
    "javascript": _javascript,
    "c": _c,
    "go": _go,
    "java": _java,
}
