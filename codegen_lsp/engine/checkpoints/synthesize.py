"""Write checkpoints of CodeGen's dimensions with random weights, to test speed and memory without the hub.

Knows dimensions and the safetensors format. Writes shard by shard, so that only one shard is in memory at a time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CodeGenConfig

from codegen_lsp.engine.checkpoints import placement
from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER, CheckpointError
from codegen_lsp.engine.checkpoints.dimensions import SIZES, Dimensions

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
DEVIATION = 0.02

Tensors = list[tuple[str, torch.Size]]


def synthesize(
    name: str,
    folder: Path,
    dtype: torch.dtype = torch.bfloat16,
    shard_bytes: int = 10**9,
    report: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a checkpoint with the dimensions of the size `name`, random weights and nano's tokenizer.

    Args:
        shard_bytes: maximum size of a shard; a single larger tensor gets a shard of its own.
        report: called with the bytes written, and the total.

    Returns:
        the folder.

    Raises:
        CheckpointError: there is no such size, the folder is not empty, or the disk is too small.
    """
    dimensions = SIZES.get(name.upper())
    if dimensions is None:
        raise CheckpointError(f"there is no size {name!r}; use one of {', '.join(SIZES)}")
    config = CodeGenConfig(**dimensions.config())
    module = placement.empty_module(config, dtype)
    shards = list(_shards([(n, t.shape) for n, t in module.state_dict().items()], dtype, shard_bytes))
    total = sum(_bytes(size, dtype) for shard in shards for _, size in shard)
    _prepare_folder(folder, total, dimensions)
    _write_config(config, folder, dtype)
    weight_map = _write_shards(shards, folder, dtype, report or (lambda _, __: None))
    # Last: a folder without an index is not a checkpoint, so an interrupted one is not mistaken for a whole one.
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    return folder


def _write_config(config: CodeGenConfig, folder: Path, dtype: torch.dtype) -> None:
    """Write the configuration and nano's tokenizer."""
    for file in TOKENIZER_FILES:
        if (NANO_FOLDER / file).is_file():
            shutil.copy(NANO_FOLDER / file, folder / file)
    end = json.loads((NANO_FOLDER / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
    config.bos_token_id = config.eos_token_id = config.pad_token_id = end
    config.architectures = ["CodeGenForCausalLM"]
    config.dtype = dtype
    config.save_pretrained(folder)


def _write_shards(
    shards: Sequence[Tensors], folder: Path, dtype: torch.dtype, report: Callable[[int, int], None]
) -> dict[str, str]:
    """Write the weights; return the file of each tensor."""
    total = sum(_bytes(size, dtype) for shard in shards for _, size in shard)
    generator = torch.Generator().manual_seed(0)
    weight_map: dict[str, str] = {}
    written = 0
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = {}
        for key, size in shard:
            tensors[key] = _weights(key, size, dtype, generator)
            weight_map[key] = file
            written += _bytes(size, dtype)
            report(written, total)
        save_file(tensors, folder / file, metadata={"format": "pt"})
    return weight_map


def _prepare_folder(folder: Path, total: int, dimensions: Dimensions) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise CheckpointError(f"{folder} is not empty; name a new folder")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise CheckpointError(f"{folder} can't be written to: {error.strerror}") from error
    if free < total * 1.01:
        folder.rmdir()
        raise CheckpointError(
            f"a {dimensions.name} checkpoint takes {total / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB free"
        )


def _bytes(size: torch.Size, dtype: torch.dtype) -> int:
    return size.numel() * dtype.itemsize


def _shards(tensors: Tensors, dtype: torch.dtype, limit: int) -> Iterator[Tensors]:
    shard: Tensors = []
    held = 0
    for name, size in tensors:
        if shard and held + _bytes(size, dtype) > limit:
            yield shard
            shard, held = [], 0
        shard.append((name, size))
        held += _bytes(size, dtype)
    if shard:
        yield shard


def _weights(name: str, size: torch.Size, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """Return a tensor as in a new model: biases 0, LayerNorm weights 1, others normally distributed."""
    if name.endswith(".bias"):
        return torch.zeros(size, dtype=dtype)
    if ".ln_" in name:
        return torch.ones(size, dtype=dtype)
    return torch.empty(size, dtype=dtype).normal_(std=DEVIATION, generator=generator)
