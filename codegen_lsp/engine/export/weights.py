"""Read the weights of a checkpoint one tensor at a time, from safetensors or from pickles that the user allowed."""

from __future__ import annotations

import zipfile
from functools import cached_property
from pathlib import Path

import torch
from safetensors import safe_open

from codegen_lsp.engine.checkpoints import files
from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError


class CheckpointWeights:
    """The tensors of a checkpoint by name. Those of safetensors are read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        """Read the names of all tensors.

        Raises:
            CheckpointError: a file can't be read, or a pickle holds more than weights.
        """
        self._folder = folder
        self._files: dict[str, Path] = {}
        for path in files.weight_files(folder):
            with safe_open(path, framework="pt") as file:
                self._files |= dict.fromkeys(file.keys(), path)

    @cached_property
    def _pickled(self) -> dict[str, torch.Tensor]:
        tensors: dict[str, torch.Tensor] = {}
        for path in sorted(self._folder.glob("pytorch_model*.bin")):
            try:
                # Files in the older format can't be mapped into memory.
                tensors |= torch.load(
                    path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True
                )
            except Exception as error:
                raise CheckpointError(f"{path} can't be read: {files.first_line(error)}") from error
        return tensors

    def read(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Return a tensor.

        Raises:
            CheckpointError: the checkpoint doesn't have it, or it has another shape.
        """
        tensor = self._find(name)
        if tensor is None:
            raise CheckpointError(f"{self._folder} lacks the weights {name!r}; download the checkpoint again")
        if tuple(tensor.shape) != shape:
            raise CheckpointError(
                f"{self._folder}: {name!r} has the shape {tuple(tensor.shape)}, expected {shape}"
            )
        return tensor

    def dtype(self, name: str) -> torch.dtype:
        """Return the number format of a tensor; float32 if the checkpoint doesn't have it."""
        tensor = self._find(name)
        return tensor.dtype if tensor is not None else torch.float32

    def _find(self, name: str) -> torch.Tensor | None:
        if name in self._files:
            with safe_open(self._files[name], framework="pt") as file:
                tensor: torch.Tensor = file.get_tensor(name)
            return tensor
        return None if self._files else self._pickled.get(name)
