"""Products of rows with a layer's quantized weights, computed by kernels."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Protocol

import torch

from codegen_lsp.engine.quantized import packing, team
from codegen_lsp.engine.quantized.formats import FEW_ROWS, padded
from codegen_lsp.engine.quantized.packing import PackedRows
from codegen_lsp.engine.quantized.product_kernels import amx, vectors
from codegen_lsp.engine.quantized.product_kernels.vectors import KernelFormat

BLOCK_BYTES = 2**17
"""Bytes of weights that stay in a core's own cache while all rows are multiplied with them."""


OUTPUTS = vectors.FIELDS.index("outputs")
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


@dataclass(frozen=True, slots=True)
class Tiling:
    """How rows and columns are cut into tiles: with the same rows in all of them, as few left empty as possible."""

    tiles: int
    """Number of tiles that have all rows."""
    rows: int
    columns: int
    on_matrix_unit: bool = False

    @classmethod
    def of_layer(cls, rows: int, layer: KernelWeights, *, adds: bool = False) -> Tiling:
        """Return the fastest one for any number of rows of a layer; the same for all layers if the rows are few.

        `adds` says whether the products are added to the outputs.
        """
        if layer.format == "int8" and amx.takes(rows, layer.in_features, layer.out_features, adds=adds):
            return cls(-(-rows // amx.ROWS), amx.ROWS, amx.COLUMNS, on_matrix_unit=True)
        is_deep = rows > FEW_ROWS and layer.format == "int8" and layer.in_features > vectors.LONG
        most, columns = vectors.largest_tile(is_deep=is_deep)
        tiles = max(1, -(-rows // most))
        each = -(-rows // tiles)
        # A single row waits for memory alone, which is read fastest from one place to the next.
        return cls(tiles, each, columns if each > 1 else 1)

    @property
    def room(self) -> int:
        """Number of rows that inputs and outputs need room for: that of whole tiles."""
        return self.tiles * self.rows


def multiply(layer: KernelWeights, inputs: torch.Tensor) -> torch.Tensor:
    """Return the products (rows, outputs) of contiguous float32 rows with a layer's int8 or int4 weights."""
    tiling = Tiling.of_layer(len(inputs), layer)
    packed = PackedRows.empty(tiling.room, layer.in_features)
    outputs = torch.empty(tiling.room, layer.out_features)
    if len(inputs):
        packing_argument = packing.argument_of(inputs, packed)
        team.run(packing.kernel_for(packed, len(inputs)), ctypes.addressof(packing_argument))
        bias = layer.float_bias()
        argument = argument_of(layer, bias, packed, outputs, tiling)
        kernel = kernel_of(layer, tiling, in_turns=tiling.tiles > 1)
        team.run(kernel, ctypes.addressof(argument))
    return outputs[: len(inputs)]


def kernel_of(layer: KernelWeights, tiling: Tiling, *, adds: bool = False, in_turns: bool = False) -> int:
    """Return the address of the kernel for a layer.

    With `adds` it adds products to the outputs. With `in_turns` threads share the columns as they find time, and the
    argument serves one call.
    """
    if tiling.on_matrix_unit:
        return amx.kernel(adds=adds)
    return vectors.kernel(layer.format, tiling.rows, tiling.columns, adds=adds, in_turns=in_turns)


def prepare_prompts(layer: KernelWeights) -> None:
    """Compile the kernels for many rows."""
    most, _ = vectors.largest_tile()
    for rows in range(FEW_ROWS + 1, FEW_ROWS + 2 * most):
        for adds in (False, True):
            kernel_of(layer, Tiling.of_layer(rows, layer, adds=adds), adds=adds, in_turns=True)


def argument_of(
    layer: KernelWeights,
    bias: torch.Tensor,
    inputs: PackedRows | torch.Tensor,
    outputs: torch.Tensor,
    tiling: Tiling,
) -> ctypes.Array[ctypes.c_int64]:
    """Return the kernel's argument; inputs and outputs have room for whole tiles.

    Inputs are packed for int8 and int4, and float32 for weights in bfloat16.
    """
    width, columns = padded(layer.in_features), tiling.columns
    block = max(columns, BLOCK_BYTES // layer.stored.stride(0) // columns * columns)
    if isinstance(inputs, PackedRows):
        values = inputs.integers if inputs.planes is None or not tiling.on_matrix_unit else inputs.planes
        read = (values, inputs.scales, inputs.sums)
    else:
        read = (inputs,) * 3
    tensors = (layer.stored, layer.scales, bias, *read, outputs)
    addresses = (tensor.data_ptr() for tensor in tensors)
    return _Argument(tiling.tiles, layer.out_features, width, block, *addresses, outputs.stride(0), 0)


_Argument = ctypes.c_int64 * len(vectors.FIELDS)
