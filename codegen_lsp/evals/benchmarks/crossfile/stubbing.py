"""Empty a package's imports from itself, so that mypy marks the places that need another file of the package.

Knows the syntax of imports, mypy's command line and the messages that name a missing member or argument.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codegen_lsp.evals.harness.files import read_text_or_nothing, walk
from codegen_lsp.evals.harness.records import DataError, EvaluationError
from codegen_lsp.wire.child_process import safe_environment
from codegen_lsp.wire.extras import install_command

SECONDS = 1200
"""Time limit of mypy for one package."""
STUBS = "crossfile_stubs"
_CODES = ("attr-defined", "call-arg", "name-defined", "union-attr")
_OPTIONS = (
    *(
        "--no-incremental",
        "--cache-dir=/dev/null",
        "--config-file=",
        "--no-site-packages",
        "--namespace-packages",
    ),
    *("--ignore-missing-imports", "--check-untyped-defs", "--show-column-numbers", "--show-error-codes"),
    *(
        "--no-error-summary",
        "--no-pretty",
        "--hide-error-context",
        "--no-color-output",
        "--explicit-package-bases",
    ),
)


@dataclass(frozen=True)
class Marked:
    """A place in a file that needs another file."""

    path: str
    """Path below the folder that holds the package."""
    line: int
    """0-based."""
    column: int
    """0-based, in characters: right before the name that can't be known from this file."""


def marked_places(package: Path, sources: dict[Path, str]) -> list[Marked]:
    """Return the places of a package that need another file of it, in order; `sources` are its modules.

    Raises:
        EvaluationError: mypy is not installed, or it failed.
    """
    with tempfile.TemporaryDirectory(prefix="codegen-crossfile-") as folder:
        whole, stubbed = Path(folder, "whole"), Path(folder, "stubbed")
        for number, (path, text) in enumerate(sources.items()):
            _write(whole / path, text)
            changed, names = without_own_imports(text, path)
            _write(stubbed / path, changed.replace(STUBS, f"{STUBS}_{number}"))
            _write(
                stubbed / f"{STUBS}_{number}.pyi", "".join(f"class {name}: ...\n" for name in sorted(names))
            )
        before = set(_errors(whole, package.name))
        places = [_place(error, sources) for error in _errors(stubbed, package.name) if error not in before]
    return sorted({place for place in places if place is not None}, key=lambda p: (p.path, p.line, p.column))


def sources_of(package: Path) -> dict[Path, str]:
    """Return the texts of a package's modules by their paths below the folder that holds it.

    Raises:
        DataError: the path is not a package.
    """
    if not (package / "__init__.py").is_file():
        raise DataError(
            f"{package} is not a Python package: it has no __init__.py; name the folder of a package"
        )
    texts = {path.relative_to(package.parent): read_text_or_nothing(path) for path in walk(package)}
    return {path: text for path, text in texts.items() if path.suffix == ".py" and text}


def without_own_imports(text: str, path: Path) -> tuple[str, set[str]]:
    """Return a module's text with its imports from its own package replaced, and the names of the empty classes.

    `from .a import b as c` becomes `from crossfile_stubs import b as c`; the lines stay where they are.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return text, set()
    names: set[str] = set()
    lines = text.split("\n")
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom) or not _is_own(node, path.parts[0]):
            continue
        last = node.end_lineno or node.lineno
        pairs = [(alias.name.partition(".")[0], alias.asname) for alias in node.names]
        listed = ", ".join(f"{name} as {alias}" if alias else name for name, alias in pairs if name != "*")
        names |= {name for name, _ in pairs if name != "*"}
        start = lines[node.lineno - 1].encode()[: node.col_offset].decode()
        end = lines[last - 1].encode()[node.end_col_offset :].decode()
        replaced = f"from {STUBS} import {listed}" if listed else "pass"
        lines[node.lineno - 1 : last] = [f"{start}{replaced}{end}"] + [""] * (last - node.lineno)
    return "\n".join(lines), names


def _is_own(node: ast.Import | ast.ImportFrom, package: str) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or (node.module or "").partition(".")[0] == package
    return all(alias.name.partition(".")[0] == package for alias in node.names)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


_ERROR = re.compile(r"^(.+?):(\d+):(\d+): error: (.*)  \[([\w-]+)\]$")


def _errors(folder: Path, package: str) -> Iterator[tuple[str, int, int, str]]:
    """Yield mypy's errors about what is missing: path, line, column, message."""
    command = [sys.executable, "-P", "-m", "mypy", *_OPTIONS, "-p", package]
    environment = safe_environment(None) | {"MYPYPATH": str(folder)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, env=environment, cwd=folder, check=False
        )
    except subprocess.TimeoutExpired:
        raise EvaluationError(
            f"mypy took longer than {SECONDS} s for {package}; name a smaller package"
        ) from None
    if "No module named mypy" in done.stderr:
        raise EvaluationError(f"mypy is not installed. To install it: {install_command('eval')}")
    if done.returncode not in (0, 1):
        raise EvaluationError(f"mypy failed on {package}: {(done.stderr or done.stdout).strip()[-300:]}")
    for line in done.stdout.splitlines():
        match = _ERROR.match(line)
        if match is not None and match[5] in _CODES:
            yield match[1], int(match[2]) - 1, int(match[3]) - 1, match[4]


_ATTRIBUTE = re.compile(r'has no attribute "(\w+)"')
_CALLED = re.compile(r'for (?:function |method )?"(\w+)"')
_NAME = re.compile(r'Name "(\w+)"')


def _place(error: tuple[str, int, int, str], sources: dict[Path, str]) -> Marked | None:
    """Return where the cursor is for an error: after `x.` or `f(`, or before a name; None if it is not on that line."""
    path, row, column, message = error
    lines = sources.get(Path(path), "").split("\n")
    line = lines[row] if row < len(lines) else ""
    start = len(line.encode()[:column].decode("utf-8", "ignore"))
    for pattern, form, offset in (
        (_ATTRIBUTE, r"\.\s*{}\b", 1),
        (_CALLED, r"\b{}\(", 0),
        (_NAME, r"\b{}\b", 0),
    ):
        named = pattern.search(message)
        if named is None:
            continue
        use = re.compile(form.format(re.escape(named[1]))).search(line, start)
        if use is not None:
            return Marked(path, row, use.end() if pattern is _CALLED else use.start() + offset)
    return None
