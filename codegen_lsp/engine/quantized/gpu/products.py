"""Multiply a few rows with the int8 weights of a layer on a GPU.

Triton comes with torch for CUDA and needs a C compiler once. Where something of that is missing, or a first product
is wrong, every product dequantizes the weights.
"""

from __future__ import annotations

import importlib
import logging
from functools import cache
from typing import Any, Protocol

import torch

from codegen_lsp.engine.quantized import formats
from codegen_lsp.engine.rounding import power_of_two

log = logging.getLogger(__name__)

ROWS = 16
"""Maximum number of rows."""

TOLERANCE = 0.02
"""Maximum relative error of a kernel: 16 bits make 0.004."""


class Int8Weights(Protocol):
    """A layer with weights in int8."""

    in_features: int
    out_features: int
    stored: Any
    scales: Any
    bias: Any


@cache
def are_ready() -> bool:
    """Return whether kernels work on this machine's GPU; compiles them when it is first asked."""
    return why_not(torch.device("cuda")) is None


def why_not(device: torch.device) -> str | None:
    """Return why the kernels can't be used on a device, None if their products are right; the reason is logged too."""
    try:
        error = max(_error(rows, device) for rows in (1, 3))
    except Exception as failure:
        reason = f"{type(failure).__name__}: {' '.join(str(failure).split())[:200]}"
    else:
        if error <= TOLERANCE:
            return None
        reason = f"wrong products, relative error {error:.2g}"
    log.warning("int8 weights are dequantized for each product: no kernels (%s)", reason)
    return reason


def multiply(layer: Int8Weights, inputs: torch.Tensor) -> torch.Tensor:
    """Return the products (rows, outputs) of up to `ROWS` rows with the weights, in the dtype of the inputs."""
    kernels: Any = importlib.import_module("codegen_lsp.engine.quantized.gpu.kernels")
    rows, width, count = len(inputs), layer.in_features, layer.out_features
    inputs = inputs.contiguous()
    outputs = torch.empty(rows, count, dtype=inputs.dtype, device=inputs.device)
    bias = layer.scales if layer.bias is None else layer.bias
    tensors = inputs, layer.stored, layer.scales, bias, outputs
    stride, has_bias = layer.stored.shape[1], layer.bias is not None
    if rows == 1:
        block = 4 if count <= 8192 else 8
        kernels.one_row[(-(-count // block),)](
            *tensors, width, stride, count, has_bias, block, min(1024, power_of_two(width)), num_warps=4
        )
    else:
        precision = "ieee" if inputs.dtype == torch.float32 else "tf32"
        kernels.few_rows[(-(-count // 16),)](
            *(*tensors, rows, width, stride, count, has_bias, precision, ROWS, 16, 128), num_warps=4
        )
    return outputs


@torch.inference_mode()
def _error(rows: int, device: torch.device) -> float:
    """Return the relative error of products of a small matrix, whose sizes are not multiples of a kernel's blocks."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(100, 200, generator=generator)
    inputs = torch.randn(rows, 200, generator=generator).to(device, torch.bfloat16)
    layer = _Example(weight, device)
    exact = inputs.float() @ formats.dequantized(layer.stored, layer.scales)[:, :200].T + layer.bias.float()
    return float((multiply(layer, inputs).float() - exact).norm() / exact.norm())


class _Example:
    """A small layer."""

    def __init__(self, weight: torch.Tensor, device: torch.device) -> None:
        self.out_features, self.in_features = weight.shape
        self.stored, self.scales = (part.to(device) for part in formats.quantized(weight, "int8"))
        self.bias = weight[:, 0].to(device, torch.bfloat16)
