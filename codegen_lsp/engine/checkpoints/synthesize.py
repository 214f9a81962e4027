"""Checkpoints of CodeGen's shapes with random weights, for tests of speed and memory where no hub can be reached.

Knows shapes and the safetensors format. Writes shard by shard: no more of the model than one shard is ever in
memory.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CodeGenConfig

from codegen_lsp.engine.checkpoints import placement
from codegen_lsp.engine.checkpoints.locate import NANO_FOLDER, CheckpointError
from codegen_lsp.engine.checkpoints.shapes import SHAPES, Dimensions

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
    """Write a checkpoint of the shape `name` with random weights and nano's tokenizer.

    Args:
        shard_bytes: no shard is larger, but for one that holds a single larger tensor.
        report: told the bytes written, and all.

    Returns:
        the folder.

    Raises:
        CheckpointError: there is no such shape, the folder holds something, or the disk is too small.
    """
    shape = SHAPES.get(name.upper())
    if shape is None:
        raise CheckpointError(f"there is no shape {name!r}; take one of {', '.join(SHAPES)}")
    config = CodeGenConfig(**shape.config())
    module = placement.empty_module(config, dtype)
    shards = list(_shards([(n, t.shape) for n, t in module.state_dict().items()], dtype, shard_bytes))
    total = sum(_bytes(size, dtype) for shard in shards for _, size in shard)
    _prepare_folder(folder, total, shape)
    for file in TOKENIZER_FILES:
        if (NANO_FOLDER / file).is_file():
            shutil.copy(NANO_FOLDER / file, folder / file)
    end = json.loads((NANO_FOLDER / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
    config.bos_token_id = config.eos_token_id = config.pad_token_id = end
    config.architectures = ["CodeGenForCausalLM"]
    config.dtype = dtype
    config.save_pretrained(folder)

    generator = torch.Generator().manual_seed(0)
    where: dict[str, str] = {}
    written = 0
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = {}
        for key, size in shard:
            tensors[key] = _weights(key, size, dtype, generator)
            where[key] = file
            written += _bytes(size, dtype)
            if report is not None:
                report(written, total)
        save_file(tensors, folder / file, metadata={"format": "pt"})
    # Last: a folder without an index is no checkpoint, so one that was interrupted is not taken for whole.
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    return folder


def _prepare_folder(folder: Path, total: int, shape: Dimensions) -> None:
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
            f"a {shape.name} checkpoint takes {total / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB free"
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
    """A tensor as a new model has it: biases 0, LayerNorm weights 1, others normal."""
    if name.endswith(".bias"):
        return torch.zeros(size, dtype=dtype)
    if ".ln_" in name:
        return torch.ones(size, dtype=dtype)
    return torch.empty(size, dtype=dtype).normal_(std=DEVIATION, generator=generator)
