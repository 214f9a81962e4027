"""What the tests of this folder share: benchmark data that is not committed, and a sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.data import data_file
from support.sandboxes import best_sandbox

from codegen_lsp.evals.sandbox.sandbox import Sandbox


@pytest.fixture(scope="session")
def mtpb_data() -> Path:
    return data_file("mtpb.jsonl")


@pytest.fixture(scope="session")
def infilling_data() -> Path:
    return data_file("HumanEval-SingleLineInfilling.jsonl.gz")


@pytest.fixture(scope="session")
def walls() -> Sandbox:
    return best_sandbox()
