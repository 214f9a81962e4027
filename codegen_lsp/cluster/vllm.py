"""vLLM as the engine of a cluster's replicas: whether it is installed, and the folder that it serves."""

from __future__ import annotations

import hashlib
import tempfile
from importlib import util
from pathlib import Path

from codegen_lsp.wire.config import EngineConfig
from codegen_lsp.wire.folders import models_dir

OPTIONS = {"enforce_eager": True}
"""Options of vLLM on processors: compiling takes minutes there and gains nothing."""


def installed() -> bool:
    """Return whether this Python has vLLM."""
    return util.find_spec("vllm") is not None


def folder_of(config: EngineConfig) -> Path:
    """Return the folder that vLLM serves: a CodeGen model's export as Phi, made at the first call, or the model's own.

    Raises:
        CheckpointError: the model can't be read, or there is no room for the export.
        ConfigError: there is no folder to have it in.
    """
    from codegen_lsp.engine.checkpoints import files, locate
    from codegen_lsp.engine.checkpoints.sources.finished import move_folder
    from codegen_lsp.engine.export.as_phi import open_source
    from codegen_lsp.engine.export.phi import export_phi

    checkpoint = locate.resolve(config.model, config.revision)
    folder = locate.locate(checkpoint, allow_pickle=config.allow_pickle)
    if files.read_config(folder)["model_type"] != "codegen":
        return folder
    version = hashlib.sha256(f"{folder} {(folder / 'config.json').stat().st_mtime_ns}".encode()).hexdigest()[
        :8
    ]
    target = models_dir() / "phi" / f"{Path(checkpoint.name).name}-{version}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="unfinished-") as made:
            export_phi(open_source(checkpoint, allow_pickle=config.allow_pickle), Path(made) / "model")
            move_folder(Path(made) / "model", target)
    return target
