"""Attention of a few new tokens to keys and values as a KV cache holds them, computed by a kernel where it can be."""

from __future__ import annotations

import ctypes

import torch

from codegen_lsp.engine.quantized import team
from codegen_lsp.engine.quantized.attention_kernels import prompts, steps
from codegen_lsp.engine.quantized.writer import vector_width

MAX_NEW = 16
"""Maximum number of new tokens of a row that the kernel for steps is faster with than the one for prompts."""

Pair = tuple[torch.Tensor, torch.Tensor]
"""Keys and values."""


def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor | None:
    """Attend from the last positions of each row to all of its positions.

    Args:
        queries: (rows, heads, new, width), in float32, divided by the square root of the width.
        keys, values: (rows, heads, positions, width); with fewer heads, each is that of neighbouring queries.

    Returns:
        (rows, heads, new, width) in float32; None if no kernel can compute these, or if it is not compiled yet.
    """
    before = keys.shape[2] - queries.shape[2]
    own = keys[:, :, before:], values[:, :, before:]
    return _attend(queries, (keys[:, :, :before], values[:, :, :before]), own, len(keys))


def attend_forked(queries: torch.Tensor, shared: Pair, own: Pair) -> torch.Tensor | None:
    """Attend from the last positions of each row to those that all rows share, and then to the row's own.

    Args:
        queries: as for `attend`.
        shared: keys and values (heads, positions, width).
        own: keys and values (rows, heads, positions, width).
    """
    keys, values = (part.unsqueeze(0) for part in shared)
    return _attend(queries, (keys, values), own, 1)


def _attend(queries: torch.Tensor, shared: Pair, own: Pair, groups: int) -> torch.Tensor | None:
    rows, heads, new, width = queries.shape
    if not (_is_readable(queries, *shared) and _is_readable(queries, *own)):
        return None
    items = rows * new // groups
    function = kernel_for(new, width, is_half=own[0].dtype == torch.bfloat16)
    if function is None:
        return None
    room = scratch_for(new, items, shared[0].shape[2] + own[0].shape[2], width)
    queries = queries.transpose(1, 2).contiguous()
    outputs = torch.empty_like(queries)
    scratch = torch.empty(team.thread_count() * room)
    counts = heads, heads // shared[0].shape[1], groups, items, new, shared[0].shape[2], own[0].shape[2]
    strides = *shared[0].stride()[:2], *own[0].stride()[:2]
    addresses = (t.data_ptr() for t in (queries, *shared, *own, outputs, scratch))
    argument = Argument(*counts, *strides, room_of(new, room), *addresses)
    team.run(function, ctypes.addressof(argument))
    return outputs.transpose(1, 2)


def is_long(new: int) -> bool:
    """Return whether `new` tokens of a row are computed by the kernel for prompts."""
    return new > MAX_NEW


def kernel_for(new: int, width: int, *, is_half: bool) -> int | None:
    """Return the address of the kernel for `new` tokens of a row; None if that for prompts is not compiled yet."""
    return prompts.kernel(width, is_half=is_half) if is_long(new) else steps.kernel(width, is_half)


def scratch_for(new: int, items: int, length: int, width: int) -> int:
    """Return the floats of scratch that a thread needs.

    Args:
        new: number of new tokens of a row.
        items: the same of a group of rows.
        length: maximum number of positions to attend to.
        width: numbers in a head.
    """
    if is_long(new):
        return prompts.room_for(items, width)
    return steps.TOKENS * (length + 2 * vector_width())


def room_of(new: int, scratch: int) -> int:
    """Return what the kernel's argument says of a thread's scratch: for a step it is the part of one token."""
    return scratch if is_long(new) else scratch // steps.TOKENS


def _is_readable(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> bool:
    """Return whether kernels read these: on the processor, heads of whole vectors, plain buffers."""
    return (
        queries.device.type == "cpu"
        and queries.shape[3] % vector_width() == 0
        and keys.dtype in (torch.bfloat16, torch.float32)
        and keys.dtype == values.dtype
        and keys.stride() == values.stride()
        and keys.stride()[2:] == (keys.shape[3], 1)
    )


Argument = ctypes.c_int64 * len(prompts.FIELDS)
"""The argument of both kernels: the one for steps does not read the last field."""
