"""Attention of a few new tokens to the keys and values of their rows.

Scores and softmax are computed in float32, as CodeGen was trained. On the processor so are both products: the library
behind 16-bit products compiles, and keeps, code for each size that it meets, and the context has another size at each
step. Keys and values of 16 bits are half as many bytes to read, so they are converted layer by layer: one layer in
float32 stays in the processor's cache.

Rows that share a prompt read its keys and values once for all of them. The split into a shared prefix and tails is that
of Hydragen (Juravsky et al. 2024, section 3), but both parts go through one softmax, so that there is nothing to merge
afterwards.
"""

from __future__ import annotations

import torch

from codegen_lsp.engine.model.kv_layers import BufferLayer, ForkedLayer


def attend(query: torch.Tensor, layer: BufferLayer, mask: torch.Tensor | None) -> torch.Tensor:
    """Attend from the last positions of each row to everything that the layer holds.

    Args:
        query: (rows, heads, new, width), in float32, divided by the square root of the width.
        layer: holds the keys and values of the new positions already.
        mask: (new, new), true where a new position must not see another; None for a single new position.

    Returns:
        (rows, heads, new, width) in the dtype of the products.
    """
    if isinstance(layer, ForkedLayer):
        return _attend_forked(query, layer, mask)
    keys, values = layer.held()
    weights = _softmax(torch.bmm(query.flatten(0, 1), keys.float().transpose(1, 2)), mask)
    values = _computable(values)
    return torch.bmm(weights.to(values.dtype), values).view(query.shape)


def _attend_forked(query: torch.Tensor, layer: ForkedLayer, mask: torch.Tensor | None) -> torch.Tensor:
    rows, heads, new, width = query.shape
    keys, values = layer.shared
    tail_keys, tail_values = layer.held()
    border = layer.prompt
    # All rows at once for the prompt, each for itself in its tail.
    together = query.transpose(0, 1).reshape(heads, rows * new, width)
    of_prompt = torch.bmm(together, keys.float().transpose(1, 2)).view(heads, rows, new, border)
    of_tails = torch.bmm(query.reshape(rows * heads, new, width), tail_keys.float().transpose(1, 2))
    scores = torch.cat([of_prompt.transpose(0, 1), of_tails.view(rows, heads, new, -1)], -1)
    values, tail_values = _computable(values), _computable(tail_values)
    weights = _softmax(scores, mask).to(values.dtype)
    together = weights[..., :border].transpose(0, 1).reshape(heads, rows * new, border)
    mixed = torch.bmm(together, values).view(heads, rows, new, width).transpose(0, 1)
    return mixed + torch.bmm(weights[..., border:].reshape(rows * heads, new, -1), tail_values).view(
        query.shape
    )


def _softmax(scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    if mask is not None:
        scores[..., -mask.shape[0] :].masked_fill_(mask, -torch.inf)
    return scores.softmax(-1)


def _computable(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.device.type == "cpu" else values
