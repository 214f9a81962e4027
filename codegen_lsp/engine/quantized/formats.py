"""How a matrix of weights is stored in int8 or int4, and what it stands for.

Knows tensors only. int8 keeps one float32 scale for each output row. int4 keeps two bfloat16 numbers for each group of
32 neighbouring weights of a row, the size of a step and the least weight; a byte holds weights i and i + 16 of its
group, each as a number of steps above the least weight.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

Format = Literal["int8", "int4"]
FORMATS: tuple[Format, ...] = get_args(Format)

GROUP = 32
"""Number of weights in a group, and the multiple to which rows are padded with zeros."""

FEW_ROWS = 16
"""Maximum number of rows of a step."""

MANY_ROWS = 160
"""Number of rows from which torch's product in 16 bits is faster, on processors that have instructions for it.

It needs dequantized weights, which take 200 ms in the 350M shape however many rows there are. 128 tokens took 365 ms,
and 312 in the kernels; 256 tokens took 412 and 566 ms (medians, two cores with AVX512-BF16 and AMX).
"""

ROW_UNIT = 64
"""Torch's product gets a multiple of this number of rows on the processor.

The library behind it compiles code for each number of rows, in 10 ms, and keeps up to a megabyte of it.
"""

STEP = 2**18
"""Number of weights that are quantized at a time: they stay in the processor's cache."""

INT8_MAX = 127
INT4_MAX = 15

CUTS = ((0.0, 0.0), (0.05, 0.0), (0.0, 0.05))
"""Parts of a group's range that a fit leaves out at its lower and upper end, where a single weight may stand apart."""

FITS = 2
"""How often the steps and the least weight are fitted anew to the weights as they were rounded last."""

SMALLEST = 1e-30
"""The size of a step for a group of equal weights."""


def padded(width: int) -> int:
    """Return the width of a stored row: the next multiple of a group."""
    return -(-width // GROUP) * GROUP


def shapes(rows: int, width: int, number_format: Format) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Return the shapes of the stored weights and of their scales, for a matrix (rows, width).

    The scales of int4 are (rows, groups, 2): the size of a step and the least weight.
    """
    if number_format == "int8":
        return (rows, padded(width)), (rows,)
    return (rows, padded(width) // 2), (rows, padded(width) // GROUP, 2)


def stored_dtype(number_format: Format) -> torch.dtype:
    """Return the dtype of the stored weights."""
    return torch.int8 if number_format == "int8" else torch.uint8


def scale_dtype(number_format: Format) -> torch.dtype:
    """Return the dtype of the scales."""
    return torch.float32 if number_format == "int8" else torch.bfloat16


def quantized(weight: torch.Tensor, number_format: Format) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the stored weights and scales of a matrix (rows, width)."""
    quantize = _to_int8 if number_format == "int8" else _to_int4
    rows, width = weight.shape
    sizes, device = shapes(rows, width, number_format), weight.device
    stored = torch.empty(sizes[0], dtype=stored_dtype(number_format), device=device)
    scales = torch.empty(sizes[1], dtype=scale_dtype(number_format), device=device)
    missing = padded(width) - width
    # Some rows at a time: the steps between need several copies of them in float32.
    step = max(1, STEP // width)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        stored[part], scales[part] = quantize(torch.nn.functional.pad(weight[part].float(), (0, missing)))
    return stored, scales


def dequantized(stored: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return the float32 matrix (rows, padded width) that stored weights stand for."""
    if stored.dtype == torch.int8:
        return stored.float() * scales[:, None]
    pairs = stored.view(len(stored), -1, GROUP // 2)
    steps = torch.cat([pairs & INT4_MAX, pairs >> 4], -1).float()
    sizes, least = scales.float().chunk(2, -1)
    return steps.mul_(sizes).add_(least).flatten(1)


def dequantized_at_once(stored: torch.Tensor, scales: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what `dequantized` gives for int8, rounded to a dtype: in one call, which is what costs time on a GPU."""
    weights = torch.empty(stored.shape, dtype=dtype, device=stored.device)
    return torch.mul(stored, scales[:, None], out=weights)


def _to_int8(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scales = weight.abs().amax(1) / INT8_MAX
    steps = weight / _divisors(scales)[:, None]
    return steps.round_().clamp_(-INT8_MAX, INT8_MAX).to(torch.int8), scales


def _to_int4(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Take the best of some fits for each group, as the weights are rounded to them."""
    groups = weight.view(len(weight), -1, GROUP)
    steps, scales, errors = _fitted(groups, *CUTS[0])
    for cut in CUTS[1:]:
        other_steps, other_scales, other_errors = _fitted(groups, *cut)
        better = other_errors < errors
        steps, scales = other_steps.where(better, steps), other_scales.where(better, scales)
        errors = torch.minimum(errors, other_errors)
    low, high = steps.to(torch.uint8).chunk(2, -1)
    return (low | (high << 4)).flatten(1), scales.bfloat16()


def _fitted(
    groups: torch.Tensor, lower: float, upper: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return each weight as a number of steps, the scales as they are stored, and each group's squared error.

    The fit begins with steps over a group's range less a part at either end. Then the size of the steps and the least
    weight are those of a straight line through the weights over their numbers of steps, by least squares.
    """
    least, largest = groups.aminmax(dim=-1, keepdim=True)
    span, mean = largest - least, groups.mean(-1, keepdim=True)
    least = least + lower * span
    sizes = ((1 - lower - upper) / INT4_MAX * span).clamp_(min=SMALLEST)
    for _ in range(FITS):
        steps = _rounded(groups, sizes, least)
        middle = steps.mean(-1, keepdim=True)
        steps -= middle
        variance = (steps * steps).sum(-1, keepdim=True).clamp_(min=SMALLEST)
        sizes = ((groups - mean).mul_(steps).sum(-1, keepdim=True) / variance).clamp_(min=SMALLEST)
        least = mean - sizes * middle
    scales = torch.cat([sizes, least], -1).bfloat16().float()
    sizes, least = scales.chunk(2, -1)
    steps = _rounded(groups, sizes, least)
    return steps, scales, (steps * sizes).add_(least).sub_(groups).square_().sum(-1, keepdim=True)


def _rounded(groups: torch.Tensor, sizes: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
    return (groups - least).div_(sizes).round_().clamp_(0, INT4_MAX)


def _divisors(scales: torch.Tensor) -> torch.Tensor:
    """Return the scales, with 1 for a row of zeros."""
    return scales.where(scales != 0, torch.ones_like(scales))


def halved(weight: torch.Tensor) -> torch.Tensor:
    """Return a table in the 16 bits that hold all of its values, or as it is if none do."""
    for dtype in (torch.bfloat16, torch.float16):
        if torch.equal(weight.to(dtype).to(weight.dtype), weight):
            return weight.to(dtype)
    return weight
