"""The benchmarks' data, which is not committed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("CODEGEN_LSP_EVAL_DATA", Path(__file__).resolve().parents[2] / "../shared/data"))


def data_file(name: str) -> Path:
    """Return the path of a benchmark's file; skip the test where it is missing."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in {DATA}; CODEGEN_LSP_EVAL_DATA names its folder")
    return path
