"""Ask the system to read layers that are kept on disk before the forward pass gets to them.

Knows where accelerate keeps offloaded weights. What was read stays in the system's own cache, which gives it up when
programs need the memory.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class FileRange:
    """A part of a file."""

    path: Path
    start: int
    length: int


class ReadAhead:
    """Reads the files of the following layers while a layer is computed."""

    AHEAD = 2
    """Number of layers that are read ahead of the one that is computed."""

    def __init__(self, module: PreTrainedModel) -> None:
        """Watch the layers of a model that are on disk; there may be none."""
        blocks = list(_blocks(module))
        self.layers = [list(_ranges(block)) for block in blocks]
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self.advised = 0
        """Number of layers that were asked for."""
        for number, block in enumerate(blocks):
            for part in _offloaded(block):
                part.register_forward_pre_hook(lambda *_, number=number: self._entered(number))
                break

    def _entered(self, number: int) -> None:
        following = (number + self.AHEAD) % len(self.layers)
        if self.layers[following]:
            self.advised += 1
            self._reader.submit(_advise, self.layers[following])


def read_ahead(module: PreTrainedModel) -> ReadAhead | None:
    """Read a model's layers ahead of their use if some are on disk and the system can be asked to."""
    if hasattr(os, "posix_fadvise") and any(True for _ in _offloaded(module)):
        return ReadAhead(module)
    return None


def _advise(ranges: Sequence[FileRange]) -> None:
    for part in ranges:
        descriptor = os.open(part.path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, part.start, part.length, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)


def _blocks(module: PreTrainedModel) -> Iterator[nn.Module]:
    names = set(module._no_split_modules or ())
    return (part for part in module.modules() if type(part).__name__ in names)


def _offloaded(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules whose weights accelerate brings from disk."""
    for part in module.modules():
        if any(True for _ in _weights(part)):
            yield part


def _weights(part: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the names of a module's own weights on disk, each with accelerate's loader of all weights."""
    dataset = getattr(getattr(part, "_hf_hook", None), "weights_map", None)
    loader = getattr(dataset, "dataset", None)
    for name, _ in part.named_parameters(recurse=False):
        key = f"{getattr(dataset, 'prefix', '')}{name}"
        if key in getattr(loader, "index", ()):
            yield key, loader


def _ranges(block: nn.Module) -> Iterator[FileRange]:
    for part in _offloaded(block):
        for key, loader in _weights(part):
            yield _range(key, loader.index[key], loader.save_folder)


def _range(key: str, entry: Mapping[str, Any], folder: str) -> FileRange:
    """Return where a weight is: in a file of its own, or in a checkpoint's shard."""
    if entry.get("safetensors_file") is None:
        path = Path(folder) / f"{key}.dat"
        return FileRange(path, 0, path.stat().st_size)
    path = Path(entry["safetensors_file"])
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    start, stop = header[entry.get("weight_name", key)]["data_offsets"]
    return FileRange(path, 8 + size + start, stop - start)
