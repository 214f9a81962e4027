from __future__ import annotations

from pathlib import Path

import pytest
from support.checkpoints import TinyCodeGen, save
from support.local import load_model

from codegen_lsp.engine.model.model import Model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CodeGen checkpoint with a context of 256."""
    return save(tmp_path_factory.mktemp("tiny"), TinyCodeGen().build())


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Model:
    """It, loaded in float32."""
    return load_model(tiny_folder)
