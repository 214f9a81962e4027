"""An interpreter that runs a test's code in every process: child processes of the package ignore `PYTHONPATH`."""

from __future__ import annotations

import site
import venv
from pathlib import Path


def python_with(folder: Path, code: str) -> Path:
    """Make a virtual environment with the packages of this one, whose processes all run `code` at their start."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "run_at_start.py").write_text(code)
    lines = [
        "import run_at_start",
        *(f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()),
    ]
    (packages / "start.pth").write_text("\n".join(lines))
    return folder / "bin" / "python"
