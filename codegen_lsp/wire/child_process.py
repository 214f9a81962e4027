"""How a child process that runs this package is started: its command, environment and working directory.

The folder in which a user calls `codegen-lsp` may be a cloned repository with a `codegen_lsp/` or a `json.py`
in it. So a child process gets a safe module path (`-P`), a neutral working directory, and an environment without
the `PYTHON*` variables that change which code runs. Starts nothing itself.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

HARMLESS = frozenset(
    {
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONFAULTHANDLER",
        "PYTHONHASHSEED",
        "PYTHONIOENCODING",
        "PYTHONNOUSERSITE",
        "PYTHONUNBUFFERED",
        "PYTHONUTF8",
    }
)
"""The `PYTHON*` variables that a child process keeps: none of them names code, a folder or a file."""

NEUTRAL_FOLDER = str(Path(os.sep).resolve())
"""The working directory of a child process: a folder that no project owns."""

_ROOT = str(Path(__file__).resolve().parents[2])
"""The folder from which this process has loaded the package."""


def package_command(*arguments: str) -> list[str]:
    """Return the command that runs this package with `arguments` in a process of its own."""
    return [sys.executable, "-P", "-m", "codegen_lsp", *arguments]


def safe_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment (by default this process's) without what changes which Python code runs.

    A package that is not installed, because it runs from a source tree, keeps its own folder in `PYTHONPATH`.
    """
    variables = os.environ if environment is None else environment
    safe = {name: value for name, value in variables.items() if _is_safe(name)}
    if _ROOT not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        safe["PYTHONPATH"] = _ROOT
    return safe


def _is_safe(name: str) -> bool:
    return not name.upper().startswith("PYTHON") or name in HARMLESS
