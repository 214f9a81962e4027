"""The drawing of the imports: which room may import which, no cycles, and each side without the other's libraries.

By name, from the source of every module, and by process: each side is imported in a fresh one, which then must not
hold what belongs to the other.
"""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import codegen_lsp
from codegen_lsp.wire.extras import EXTRAS

PACKAGE = Path(codegen_lsp.__path__[0])
HEAVY = {*EXTRAS["engine"]} - {"tree_sitter_typescript"}
EDITOR = {"pygls", "lsprotocol", "tree_sitter"}
MODULES_AT_MOST = 13
"""Maximum number of modules in a folder, `__init__` not counted."""
ROOMS_AT_MOST = 15
"""Maximum number of modules and folders in a folder."""

LAYERS: dict[str, Sequence[str]] = {
    "codegen_lsp": (
        "__main__",
        "cli",
        "commands",
        "cluster",
        "nano",
        "evals",
        "headless_editor",
        "lsp",
        "engine",
        "wire",
        "regular_file",
        "cores",
        "escaping",
    ),
    "codegen_lsp.lsp": (
        "main",
        "app",
        "handlers",
        "session",
        "server",
        "suggest",
        "engines",
        "fitting",
        "context",
        "prompts",
        "code",
        "names",
        "options",
        "uris",
        "reasons",
    ),
    "codegen_lsp.engine": (
        "http",
        "one_shot",
        "scheduling",
        "libraries",
        "decode",
        "export",
        "advice",
        "fill",
        "model",
        "checkpoints",
        "quantized",
        "read_ahead",
        "memory",
        "rounding",
        "architectures",
    ),
    "codegen_lsp.cluster": ("replica", "dashboard", "head", "serve_config", "vllm", "plan"),
    "codegen_lsp.evals": ("benchmarks", "harness", "sandbox"),
    "codegen_lsp.nano": ("__main__", "evaluation", "training", "corpus"),
}
"""The rooms of each folder, from the top of the drawing to its ground: a room imports only rooms that follow it."""


def source_modules() -> dict[str, Path]:
    """Every module of the package by its name."""
    paths = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        paths[name.removesuffix(".__init__")] = path
    return paths


MODULES = source_modules()
FOLDERS = sorted(name for name, path in MODULES.items() if path.name == "__init__.py")


def imports(path: Path) -> Iterator[str]:
    """Every module that a module imports, at its top or later, by the name that says most."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


IMPORTS = {name: set(imports(path)) for name, path in MODULES.items()}


def below(name: str, folder: str) -> bool:
    """Whether a module is a folder's package or in it."""
    return name == folder or name.startswith(folder + ".")


def room(module: str, folder: str) -> str | None:
    """The child of a folder that a module is in; None for modules that are not in the folder, and for its package."""
    return module[len(folder) + 1 :].partition(".")[0] if module.startswith(folder + ".") else None


def circle(graph: Mapping[str, set[str]]) -> str | None:
    """Describe a circle in a graph of imports; return None if it has none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(error.args[1])
    return None


@pytest.mark.parametrize("folder", LAYERS)
def test_every_room_has_a_layer(folder: str) -> None:
    rooms = {name for module in MODULES if (name := room(module, folder))}
    assert rooms == set(LAYERS[folder])


@pytest.mark.parametrize("folder", LAYERS)
def test_no_import_points_upward(folder: str) -> None:
    order = {name: number for number, name in enumerate(LAYERS[folder])}
    upward = [
        f"{module} imports {target}"
        for module, targets in IMPORTS.items()
        for target in targets
        if (source := room(module, folder))
        and (drain := room(target, folder))
        and order[source] > order[drain]
    ]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: targets & MODULES.keys() - {name} for name, targets in IMPORTS.items()}
    assert circle(graph) is None


@pytest.mark.parametrize(
    ("side", "forbidden"),
    [
        ("codegen_lsp.lsp", {"codegen_lsp.engine", *HEAVY - {"tokenizers"}}),
        ("codegen_lsp.engine", {"codegen_lsp.lsp", *EDITOR}),
        ("codegen_lsp.wire", {"codegen_lsp.lsp", "codegen_lsp.engine", *HEAVY, *EDITOR}),
    ],
)
def test_no_side_names_what_belongs_to_the_other(side: str, forbidden: set[str]) -> None:
    """The language server may use tokenizers if it is installed; nothing else of the engine's."""
    named = [
        f"{module} imports {target}"
        for module, targets in IMPORTS.items()
        for target in targets
        if below(module, side) and any(below(target, name) for name in forbidden)
    ]
    assert named == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_rooms_import_each_other_in_a_circle(folder: str) -> None:
    """In whatever order the rooms of a folder are drawn, a circle of rooms has an arrow that points upward."""
    graph: dict[str, set[str]] = {}
    for module, targets in IMPORTS.items():
        if source := room(module, folder):
            drains = {room(target, folder) for target in targets & MODULES.keys()}
            graph.setdefault(source, set()).update(drain for drain in drains if drain and drain != source)
    assert circle(graph) is None


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_folder_has_too_many_rooms(folder: str) -> None:
    rooms = {room(module, folder) for module in MODULES} - {None}
    folders = {child.removeprefix(folder + ".") for child in FOLDERS}
    assert len(rooms - folders) <= MODULES_AT_MOST
    assert len(rooms) <= ROOMS_AT_MOST


def modules(prefix: str) -> list[str]:
    names = [m.name for m in pkgutil.walk_packages(codegen_lsp.__path__, "codegen_lsp.")]
    return [n for n in names if below(n, prefix)]


def loaded_by(names: list[str]) -> set[str]:
    """Modules that a fresh process holds once it has imported these: the top level, and the two sides."""
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules} | {m for m in sys.modules if m.count('.') == 1}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("part", ["lsp", "wire", "cli", "headless_editor"])
def test_the_language_server_never_loads_the_model_s_libraries(part: str) -> None:
    names = modules(f"codegen_lsp.{part}")
    assert names
    assert loaded_by(names) & (HEAVY | {"codegen_lsp.engine"}) == set()


def test_the_engine_never_loads_the_editor_s_libraries() -> None:
    with_triton = {"codegen_lsp.engine.quantized.gpu.kernels"}  # torch brings it for GPUs only
    names = [name for name in modules("codegen_lsp.engine") if name not in with_triton]
    assert loaded_by(names) & (EDITOR | {"codegen_lsp.lsp"}) == set()


def test_the_wire_needs_the_standard_library_msgspec_and_platformdirs_only() -> None:
    allowed = {"codegen_lsp", "__main__", "msgspec", "typing_extensions", "platformdirs"}
    with_httpx = {"codegen_lsp.wire.transport.unix"}  # the first client brings both
    names = [name for name in modules("codegen_lsp.wire") if name not in with_httpx]
    loaded = {name for name in loaded_by(names) if "." not in name}
    assert loaded - loaded_by([]) <= set(sys.stdlib_module_names) | allowed


def test_starting_the_command_line_imports_neither_side() -> None:
    assert loaded_by(modules("codegen_lsp.cli")) & (HEAVY | EDITOR) == set()
