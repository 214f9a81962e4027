"""How a matrix of weights is stored in int8 or int4, and what it stands for.

Knows tensors only. int8 keeps one float32 scale for each output row. int4 keeps one bfloat16 scale for each group of 32
neighbouring weights of a row; a byte holds weights i and i + 16 of its group, each as a two's complement number.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

Format = Literal["int8", "int4"]
FORMATS: tuple[Format, ...] = get_args(Format)

GROUP = 32
"""Number of weights in a group, and the multiple to which rows are padded with zeros."""

STEP = 2**22
"""Number of weights that are quantized at a time."""

INT8_MAX = 127
INT4_MIN, INT4_MAX = -8, 7


def padded(width: int) -> int:
    """Return the width of a stored row: the next multiple of a group."""
    return -(-width // GROUP) * GROUP


def shapes(rows: int, width: int, number_format: Format) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Return the shapes of the stored weights and of their scales, for a matrix (rows, width)."""
    if number_format == "int8":
        return (rows, padded(width)), (rows,)
    return (rows, padded(width) // 2), (rows, padded(width) // GROUP)


def scale_dtype(number_format: Format) -> torch.dtype:
    """Return the dtype of the scales."""
    return torch.float32 if number_format == "int8" else torch.bfloat16


def quantized(weight: torch.Tensor, number_format: Format) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the stored weights and scales of a matrix (rows, width)."""
    quantize = _to_int8 if number_format == "int8" else _to_int4
    missing = padded(weight.shape[1]) - weight.shape[1]
    # Some rows at a time: the steps between need several copies of them in float32.
    step = max(1, STEP // weight.shape[1])
    parts = [
        quantize(torch.nn.functional.pad(weight[start : start + step].float(), (0, missing)))
        for start in range(0, len(weight), step)
    ]
    stored, scales = zip(*parts, strict=True)
    return torch.cat(stored), torch.cat(scales)


def dequantized(stored: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return the float32 matrix (rows, padded width) that stored weights stand for."""
    if stored.dtype == torch.int8:
        return stored.float() * scales[:, None]
    groups = stored.view(torch.int8).view(len(stored), -1, GROUP // 2)
    low = (groups << 4) >> 4
    values = torch.cat([low, groups >> 4], -1).float() * scales.float()[:, :, None]
    return values.flatten(1)


def dequantized_at_once(stored: torch.Tensor, scales: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what `dequantized` gives for int8, rounded to a dtype: in one call, which is what costs time on a GPU."""
    weights = torch.empty(stored.shape, dtype=dtype, device=stored.device)
    return torch.mul(stored, scales[:, None], out=weights)


def _to_int8(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scales = weight.abs().amax(1) / INT8_MAX
    steps = weight / _divisors(scales)[:, None]
    return steps.round_().clamp_(-INT8_MAX, INT8_MAX).to(torch.int8), scales


def _to_int4(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Take the better of two scales for each group: the extreme weight becomes -8, or plus or minus 7."""
    groups = weight.view(len(weight), -1, GROUP)
    extremes = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    steps, scales, errors = _steps(groups, extremes / INT4_MIN)
    other_steps, other_scales, other_errors = _steps(groups, extremes.abs() / INT4_MAX)
    better = other_errors < errors
    numbers = other_steps.where(better, steps).to(torch.int8)
    low, high = numbers[..., : GROUP // 2], numbers[..., GROUP // 2 :]
    stored = ((low & 0x0F) | (high << 4)).view(torch.uint8)
    return stored.flatten(1), other_scales.where(better, scales)[..., 0].bfloat16()


def _steps(groups: torch.Tensor, scales: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return each weight as a number of steps, the scales as they are stored, and each group's squared error."""
    scales = scales.bfloat16().float()
    steps = (groups / _divisors(scales)).round_().clamp_(INT4_MIN, INT4_MAX)
    return steps, scales, (steps * scales - groups).square_().sum(-1, keepdim=True)


def _divisors(scales: torch.Tensor) -> torch.Tensor:
    """Return the scales, with 1 for a row or a group of zeros."""
    return scales.where(scales != 0, torch.ones_like(scales))
