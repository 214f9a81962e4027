"""Write the weights of a checkpoint as safetensors, shard by shard, so that only one shard is in memory at a time."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError

ReportBytes = Callable[[int, int], None]
"""Called with the bytes that were written, and the total."""

MARGIN = 1.01
"""Free bytes that a disk must have for each byte to write."""


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor whose size is known before its numbers are."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], torch.Tensor]

    @property
    def size(self) -> int:
        """Number of bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def prepare_folder(folder: Path, total: int, what: str) -> None:
    """Make a new folder for `what`, which takes `total` bytes.

    Raises:
        CheckpointError: the folder is not empty or can't be written to, or the disk is too small.
    """
    try:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise CheckpointError(f"{folder} is not empty; name a new folder")
    except OSError as error:
        raise CheckpointError(f"{folder} can't be written to: {error.strerror}") from error
    try:
        check_space(folder, total, what)
    except CheckpointError:
        if made:
            folder.rmdir()
        raise


def check_space(folder: Path, total: int, what: str) -> None:
    """Check that the disk of a folder has room for `total` bytes.

    Raises:
        CheckpointError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < total * MARGIN:
        raise CheckpointError(f"{what} takes {total / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB free")


def write_shards(
    tensors: Sequence[PlannedTensor], folder: Path, limit: int, report: ReportBytes | None = None
) -> None:
    """Write tensors and their index; a tensor larger than `limit` bytes gets a shard of its own.

    The index comes last: a folder without one is not a checkpoint, so an interrupted one is not mistaken for a whole
    one.
    """
    shards = list(_shards(tensors, limit))
    total = sum(tensor.size for tensor in tensors)
    weight_map: dict[str, str] = {}
    written = 0
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        weights = {}
        for tensor in shard:
            weights[tensor.name] = tensor.read().contiguous()
            weight_map[tensor.name] = file
            written += tensor.size
            if report is not None:
                report(written, total)
        save_file(weights, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def _shards(tensors: Sequence[PlannedTensor], limit: int) -> Iterator[list[PlannedTensor]]:
    shard: list[PlannedTensor] = []
    held = 0
    for tensor in tensors:
        if shard and held + tensor.size > limit:
            yield shard
            shard, held = [], 0
        shard.append(tensor)
        held += tensor.size
    if shard:
        yield shard
