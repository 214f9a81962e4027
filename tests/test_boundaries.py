"""Each side is imported in a fresh process, which then must not hold what belongs to the other."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import codegen_lsp

HEAVY = {"torch", "transformers", "accelerate", "safetensors"}
EDITOR = {"pygls", "lsprotocol", "tree_sitter"}


def modules(prefix: str) -> list[str]:
    names = [m.name for m in pkgutil.walk_packages(codegen_lsp.__path__, "codegen_lsp.")]
    return [n for n in names if n == prefix or n.startswith(prefix + ".")]


def loaded_by(names: list[str]) -> set[str]:
    """Top-level modules that a fresh process holds once it has imported these."""
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("part", ["lsp", "client", "wire", "cli"])
def test_the_language_server_never_imports_the_model_s_libraries(part: str) -> None:
    names = modules(f"codegen_lsp.{part}")
    if not names:
        pytest.skip(f"there is no codegen_lsp.{part}")
    assert loaded_by(names) & HEAVY == set()


def test_the_engine_never_imports_the_editor_s_libraries() -> None:
    assert loaded_by(modules("codegen_lsp.engine")) & EDITOR == set()


def test_the_wire_needs_the_standard_library_msgspec_and_platformdirs_only() -> None:
    allowed = {"codegen_lsp", "__main__", "msgspec", "typing_extensions", "platformdirs"}
    loaded = loaded_by(modules("codegen_lsp.wire"))
    assert loaded - loaded_by([]) <= set(sys.stdlib_module_names) | allowed


def test_starting_the_command_line_imports_neither_side() -> None:
    names = modules("codegen_lsp.cli")
    if not names:
        pytest.skip("there is no codegen_lsp.cli")
    assert loaded_by(names) & (HEAVY | EDITOR) == set()
