"""What the tests of this folder share: benchmark data that is not committed, and a sandbox."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from codegen_lsp.evals.sandbox import Sandbox, SandboxError

sys.path.insert(0, str(Path(__file__).parent))

DATA = Path(os.environ.get("CODEGEN_LSP_EVAL_DATA", Path(__file__).resolve().parents[2] / "../shared/data"))


def data_file(name: str) -> Path:
    """A benchmark's file; the test is skipped where it is missing."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in {DATA}; CODEGEN_LSP_EVAL_DATA names its folder")
    return path


@pytest.fixture(scope="session")
def mtpb_data() -> Path:
    return data_file("mtpb.jsonl")


@pytest.fixture(scope="session")
def infilling_data() -> Path:
    return data_file("HumanEval-SingleLineInfilling.jsonl.gz")


@pytest.fixture(scope="session")
def walls() -> Sandbox:
    try:
        return Sandbox()
    except SandboxError as error:
        pytest.skip(str(error))
