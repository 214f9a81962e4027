"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("codegen-lsp", deadline=None)  # No test depends on the speed of the machine.
settings.load_profile("codegen-lsp")

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:
    # The workers, and the engines that they start, share the cores: more threads than cores wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))
