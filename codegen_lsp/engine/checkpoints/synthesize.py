"""Write checkpoints of CodeGen's dimensions with random weights, to test speed and memory without the hub.

Knows dimensions; `shards` writes the weights, one shard at a time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from transformers import CodeGenConfig

from codegen_lsp.engine.checkpoints import placement
from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER, CheckpointError
from codegen_lsp.engine.checkpoints.dimensions import SIZES
from codegen_lsp.engine.checkpoints.shards import PlannedTensor, prepare_folder, write_shards

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
DEVIATION = 0.02


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
    generator = torch.Generator().manual_seed(0)
    tensors = [
        PlannedTensor(n, t.shape, dtype, partial(_weights, n, t.shape, dtype, generator))
        for n, t in module.state_dict().items()
    ]
    prepare_folder(folder, sum(tensor.size for tensor in tensors), f"a {dimensions.name} checkpoint")
    _write_config(config, folder, dtype)
    write_shards(tensors, folder, shard_bytes, report)
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


def _weights(name: str, size: torch.Size, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """Return a tensor as in a new model: biases 0, LayerNorm weights 1, others normally distributed."""
    if name.endswith(".bias"):
        return torch.zeros(size, dtype=dtype)
    if ".ln_" in name:
        return torch.ones(size, dtype=dtype)
    return torch.empty(size, dtype=dtype).normal_(std=DEVIATION, generator=generator)
