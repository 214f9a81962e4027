"""Check that a folder holds a whole checkpoint before anything heavy starts. Reads headers only; imports no torch.

A checkpoint may come from anywhere, so nothing in it is trusted: only regular files are opened, JSON of a sane size and
depth is parsed, an index can't point outside its folder, and the configuration is checked by `config_limits`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError
from codegen_lsp.engine.checkpoints.config_limits import check_config
from codegen_lsp.regular_file import UnsuitableFileError, read_regular_file
from codegen_lsp.wire.config import option

PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")
"""Files that belong to a checkpoint; `*.bin` too if pickles are allowed."""

MAX_JSON = 64 * 2**20
"""Maximum size in bytes of a JSON file that is parsed here."""

TOKENIZERS = ("tokenizer.json", "vocab.json", "tokenizer.model")

SMALL_JSON = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""Further JSON files that transformers reads."""


def check(folder: Path, *, allow_pickle: bool = False) -> None:
    """Check that a folder holds a whole checkpoint.

    Raises:
        CheckpointError: something is missing, corrupt or unsafe, or a pickle that was not allowed.
    """
    read_config(folder)
    for name in SMALL_JSON:
        if os.path.lexists(folder / name):
            read_json(folder / name)
    if not any((folder / f).is_file() for f in TOKENIZERS):
        if _names_codegen25(folder):
            raise CheckpointError(
                f"the tokenizer of {folder} is code of its authors (CodeGen2.5's, on tiktoken), which this engine "
                "never runs; use CodeGen2 (Salesforce/codegen2-1B_P), or put a converted tokenizer.json there"
            )
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


def _names_codegen25(folder: Path) -> bool:
    path = folder / "tokenizer_config.json"
    return path.is_file() and "CodeGen25Tokenizer" in path.read_text(encoding="utf-8", errors="replace")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the contents of a folder's `config.json`, after checking that all files of the checkpoint are files.

    Raises:
        CheckpointError: the file is missing, not a JSON object, names no kind of model, or holds absurd dimensions.
    """
    path = folder / "config.json"
    if not os.path.lexists(path):
        raise CheckpointError(
            f"{folder} is not a checkpoint: it holds no config.json; name the folder that does, or use the model nano"
        )
    _check_regular(folder)
    config = read_json(path)
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise CheckpointError(f"{path} does not say which kind of model it is (model_type)")
    check_config(config, path)
    return config


def _check_regular(folder: Path) -> None:
    """Refuse pipes, devices and folders in place of files: to open one could block for ever, or fill the memory."""
    for pattern in (*PATTERNS, "*.bin", "*.jinja"):
        for path in folder.glob(pattern):
            if not path.is_file():
                kind = "doesn't exist" if path.is_symlink() and not path.exists() else "is not a regular file"
                raise CheckpointError(f"{path} {kind}; download the checkpoint again")


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        CheckpointError: it can't be read, is not a regular file, too large, not JSON, or nested too deeply.
    """
    try:
        return json.loads(read_regular_file(path, MAX_JSON).decode("utf-8"))
    except UnsuitableFileError as error:
        raise CheckpointError(f"{path} is {error}; download the checkpoint again") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read: {first_line(error)}") from error
    except RecursionError:
        raise CheckpointError(f"{path} can't be read: it is nested too deeply") from None


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint, as its index names them.

    Raises:
        CheckpointError: the index can't be read or points outside the folder, or a shard is missing.
    """
    single = folder / "model.safetensors"
    index = folder / "model.safetensors.index.json"
    if not os.path.lexists(index):
        return [single] if single.is_file() else []
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
        inside = all(_is_inside(name) for name in names)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} can't be read: {first_line(error)}") from error
    if not inside:
        raise CheckpointError(f"{index} names files outside of {folder}; this is not a checkpoint to trust")
    missing = [n for n in names if not (folder / n).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} of {len(names)} shards ({missing[0]}); download the checkpoint again"
        )
    return [folder / n for n in names]


def _is_inside(name: str) -> bool:
    """Return whether the name of a shard stays in its folder. (Links are allowed: the hub's cache consists of them.)"""
    path = PurePosixPath(name.replace("\\", "/"))
    return (
        not path.is_absolute()
        and ".." not in path.parts
        and path.suffix == ".safetensors"
        and "\0" not in name
    )


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
