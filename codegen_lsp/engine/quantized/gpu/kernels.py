"""Kernels that multiply a few rows with an int8 matrix: weights are read once, and converted in registers.

Triton compiles them for the GPU when they are first used. A single row is multiplied and summed by plain arithmetic;
several go through the units for products of matrices, as 16 rows.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def one_row(
    inputs,
    stored,
    scales,
    bias,
    outputs,
    width: tl.constexpr,
    stride,
    count,
    has_bias: tl.constexpr,
    outputs_block: tl.constexpr,
    width_block: tl.constexpr,
):
    """Compute `outputs_block` outputs of one row of `width` inputs."""
    channels = tl.program_id(0) * outputs_block + tl.arange(0, outputs_block)
    is_channel = channels < count
    sums = tl.zeros((outputs_block, width_block), tl.float32)
    for start in range(0, width, width_block):
        columns = start + tl.arange(0, width_block)
        is_column = columns < width
        values = tl.load(inputs + columns, mask=is_column, other=0.0).to(tl.float32)
        addresses = stored + channels[:, None].to(tl.int64) * stride + columns[None, :]
        weights = tl.load(addresses, mask=is_channel[:, None] & is_column[None, :], other=0)
        sums += weights.to(tl.float32) * values[None, :]
    result = tl.sum(sums, 1) * tl.load(scales + channels, mask=is_channel, other=0.0)
    if has_bias:
        result += tl.load(bias + channels, mask=is_channel, other=0.0).to(tl.float32)
    tl.store(outputs + channels, result.to(outputs.dtype.element_ty), mask=is_channel)


@triton.jit
def few_rows(
    inputs,
    stored,
    scales,
    bias,
    outputs,
    rows,
    width: tl.constexpr,
    stride,
    count,
    has_bias: tl.constexpr,
    precision: tl.constexpr,
    rows_block: tl.constexpr,
    outputs_block: tl.constexpr,
    width_block: tl.constexpr,
):
    """Compute `outputs_block` outputs of each of up to `rows_block` rows."""
    numbers = tl.arange(0, rows_block)
    is_row = numbers < rows
    channels = tl.program_id(0) * outputs_block + tl.arange(0, outputs_block)
    is_channel = channels < count
    sums = tl.zeros((rows_block, outputs_block), tl.float32)
    for start in range(0, width, width_block):
        columns = start + tl.arange(0, width_block)
        is_column = columns < width
        values = tl.load(
            inputs + numbers[:, None] * width + columns[None, :],
            mask=is_row[:, None] & is_column[None, :],
            other=0.0,
        )
        addresses = stored + channels[None, :].to(tl.int64) * stride + columns[:, None]
        weights = tl.load(addresses, mask=is_channel[None, :] & is_column[:, None], other=0)
        sums = tl.dot(values, weights.to(values.dtype), sums, input_precision=precision)
    result = sums * tl.load(scales + channels, mask=is_channel, other=0.0)[None, :]
    if has_bias:
        result += tl.load(bias + channels, mask=is_channel, other=0.0).to(tl.float32)[None, :]
    tl.store(
        outputs + numbers[:, None] * count + channels[None, :],
        result.to(outputs.dtype.element_ty),
        mask=is_row[:, None] & is_channel[None, :],
    )
