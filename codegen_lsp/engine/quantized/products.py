"""Products of rows with a layer's quantized weights, computed by kernels."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Protocol

import torch

from codegen_lsp.engine.quantized import kernels, packing, team
from codegen_lsp.engine.quantized.formats import padded
from codegen_lsp.engine.quantized.kernels import KernelFormat
from codegen_lsp.engine.quantized.packing import PackedRows

BLOCK_BYTES = 2**16
"""Bytes of weights that stay in a core's own cache while all rows are multiplied with them."""


OUTPUTS = kernels.FIELDS.index("outputs")
"""The place in a kernel's argument of the address of its outputs."""


class KernelWeights(Protocol):
    """The weights of a linear layer as kernels read them."""

    @property
    def in_features(self) -> int:
        """Number of inputs."""

    @property
    def out_features(self) -> int:
        """Number of outputs."""

    @property
    def format(self) -> KernelFormat:
        """Their number format."""

    @property
    def stored(self) -> torch.Tensor:
        """The weights (outputs, padded inputs)."""

    @property
    def scales(self) -> torch.Tensor:
        """Their scales."""

    def float_bias(self) -> torch.Tensor:
        """Return the biases in float32, zeros if there are none."""


@dataclass(frozen=True, slots=True)
class HalfWeights:
    """Weights in the bfloat16 that they were trained in: a copy of those that a layer has in float32."""

    stored: torch.Tensor
    bias: torch.Tensor
    format: KernelFormat = "bfloat16"

    @classmethod
    def of(cls, layer: torch.nn.Linear) -> HalfWeights | None:
        """Return the weights of a layer; None if they lose something, or if its inputs fill no whole groups."""
        stored = layer.weight.detach().bfloat16().contiguous()
        if padded(layer.in_features) != layer.in_features or not torch.equal(stored.float(), layer.weight):
            return None
        return cls(
            stored, torch.zeros(layer.out_features) if layer.bias is None else layer.bias.detach().float()
        )

    @property
    def in_features(self) -> int:
        """Number of inputs."""
        return self.stored.shape[1]

    @property
    def out_features(self) -> int:
        """Number of outputs."""
        return self.stored.shape[0]

    @property
    def scales(self) -> torch.Tensor:
        """No scales: the weights themselves, which nothing reads as scales."""
        return self.stored

    def float_bias(self) -> torch.Tensor:
        """Return the biases."""
        return self.bias


def multiply(layer: KernelWeights, inputs: torch.Tensor) -> torch.Tensor:
    """Return the products (rows, outputs) of contiguous float32 rows with a layer's int8 or int4 weights."""
    rows = room_for(len(inputs))
    packed = PackedRows.empty(rows, layer.in_features)
    outputs = torch.empty(rows, layer.out_features)
    if len(inputs):
        packing_argument = packing.argument_of(inputs, packed)
        team.run(packing.kernel(), ctypes.addressof(packing_argument))
        bias = layer.float_bias()
        argument = argument_of(layer, bias, packed, outputs, len(inputs))
        kernel = kernel_of(layer, len(inputs), in_turns=_tiles(len(inputs)) > 1)
        team.run(kernel, ctypes.addressof(argument))
    return outputs[: len(inputs)]


def room_for(rows: int) -> int:
    """Return the number of rows that inputs and outputs need room for: that of whole tiles."""
    return 0 if not rows else _tiles(rows) * _tile_rows(rows)


def kernel_of(layer: KernelWeights, rows: int, *, adds: bool = False, in_turns: bool = False) -> int:
    """Return the address of the kernel for `rows` rows.

    With `adds` it adds products to the outputs. With `in_turns` threads share the columns as they find time, and the
    argument serves one call.
    """
    return kernels.kernel(layer.format, _tile_rows(rows), adds=adds, in_turns=in_turns)


def prepare_prompts(number_format: KernelFormat) -> None:
    """Compile the kernels for many rows."""
    most = kernels.most_rows()
    for rows in {_tile_rows(rows) for rows in range(most + 1, 4 * most)}:
        kernels.kernel(number_format, rows, in_turns=True)


def columns_of(rows: int) -> int:
    """Return the number of neighbouring columns that one thread computes at least, for `rows` rows."""
    return kernels.columns_of(_tile_rows(rows))


def argument_of(
    layer: KernelWeights,
    bias: torch.Tensor,
    inputs: PackedRows | torch.Tensor,
    outputs: torch.Tensor,
    rows: int,
) -> ctypes.Array[ctypes.c_int64]:
    """Return the kernel's argument; inputs and outputs have at least `room_for(rows)` rows.

    Inputs are packed for int8 and int4, and float32 for weights in bfloat16.
    """
    width, columns = padded(layer.in_features), columns_of(rows)
    block = max(columns, BLOCK_BYTES // layer.stored.stride(0) // columns * columns)
    read = (inputs.integers, inputs.scales, inputs.sums) if isinstance(inputs, PackedRows) else (inputs,) * 3
    tensors = (layer.stored, layer.scales, bias, *read, outputs)
    addresses = (tensor.data_ptr() for tensor in tensors)
    return _Argument(_tiles(rows), layer.out_features, width, block, *addresses, outputs.stride(0), 0)


def _tiles(rows: int) -> int:
    return -(-rows // kernels.most_rows())


def _tile_rows(rows: int) -> int:
    """Return the number of rows in a tile: the same in all of them, with as few left empty as possible."""
    return -(-rows // _tiles(rows))


_Argument = ctypes.c_int64 * len(kernels.FIELDS)
