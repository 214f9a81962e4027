"""What the tests of commands share: a sandbox for those that judge programs."""

from __future__ import annotations

import pytest
from support.sandboxes import best_sandbox

from codegen_lsp.evals.sandbox.sandbox import Sandbox


@pytest.fixture(scope="session")
def walls() -> Sandbox:
    return best_sandbox()
