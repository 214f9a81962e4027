"""Check that a folder holds a whole checkpoint before anything heavy starts. Reads headers only; imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError
from codegen_lsp.wire.config import option

PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")
"""Files that belong to a checkpoint; `*.bin` too if pickles are allowed."""

TOKENIZERS = ("tokenizer.json", "vocab.json", "tokenizer.model")


def check(folder: Path, *, allow_pickle: bool = False) -> None:
    """Check that a folder holds a whole checkpoint.

    Raises:
        CheckpointError: something is missing or corrupt, or a pickle that was not allowed.
    """
    read_config(folder)
    if not any((folder / f).is_file() for f in TOKENIZERS):
        raise CheckpointError(f"{folder} holds no tokenizer (tokenizer.json); copy that of the model there")
    shards = weight_files(folder)
    if not shards:
        if not any(folder.glob("*.bin")):
            raise CheckpointError(f"{folder} holds no weights (model.safetensors)")
        if not allow_pickle:
            raise CheckpointError(
                f"{folder} holds only pickled weights, which can run code; convert them to safetensors, "
                f"or trust them with {option('allow-pickle')}"
            )
    for shard in shards:
        _check_shard(shard)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the contents of a folder's `config.json`.

    Raises:
        CheckpointError: the file is missing, not a JSON object, or names no kind of model.
    """
    path = folder / "config.json"
    if not path.exists():
        raise CheckpointError(
            f"{folder} is not a checkpoint: it holds no config.json; name the folder that does, or use the model nano"
        )
    config = read_json(path)
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise CheckpointError(f"{path} does not say which kind of model it is (model_type)")
    return config


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        CheckpointError: it can't be read, is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read: {first_line(error)}") from error
    except RecursionError:
        raise CheckpointError(f"{path} can't be read: it is nested too deeply") from None


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint, as its index names them.

    Raises:
        CheckpointError: the index can't be read, or a shard is missing.
    """
    single = folder / "model.safetensors"
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [single] if single.is_file() else []
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} can't be read: {first_line(error)}") from error
    missing = [n for n in names if not (folder / n).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} of {len(names)} shards ({missing[0]}); download the checkpoint again"
        )
    return [folder / n for n in names]


def _check_shard(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is corrupt or cut off ({first_line(error)}); download the checkpoint again"
        ) from error


def tokenizer_file(folder: Path) -> str:
    """Return the path of the folder's `tokenizer.json`, or an empty string."""
    path = folder / "tokenizer.json"
    return str(path) if path.is_file() else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
