"""Attention of new tokens to the keys and values of their rows.

Scores and softmax are computed in float32, as CodeGen was trained. On the processor so are both products: the library
behind 16-bit products compiles, and keeps, code for each size that it meets, and the context has another size at each
step. Keys and values of 16 bits are half as many bytes to read, so they are converted layer by layer: one layer in
float32 stays in the processor's cache.

Each row for itself is one fused call of torch, unless a kernel of ours computes it. On a GPU it takes queries in the
dtype of the keys; its scores and sums are in float32.

Rows that share a prompt read its keys and values once for all of them. The split into a shared prefix and tails is that
of Hydragen (Juravsky et al. 2024, section 3), but both parts go through one softmax, so that there is nothing to merge
afterwards.

Steps that are replayed (`graphs`) have buffers that are filled in part. Fused calls with a mask go through the keys of
a head one block after the other, which keeps most of a GPU idle while there are few rows; plain products spread over
all of it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.nn.functional import scaled_dot_product_attention

from codegen_lsp.engine.model.kv_layers import BufferLayer, ForkedLayer, PlainLayer


def attend(
    query: torch.Tensor,
    layer: BufferLayer,
    mask: torch.Tensor | None,
    *,
    scale: float = 1.0,
    compiled: bool = False,
) -> torch.Tensor:
    """Attend from the last positions of each row to everything that the layer holds.

    Args:
        query: (rows, heads, new, width).
        layer: holds the keys and values of the new positions already; neighbouring heads of queries may share one of
            keys and values (grouped-query attention, Ainslie et al. 2023).
        mask: (new, new), true where a new position must not see another; None for a single new position.
        scale: what products of queries and keys are multiplied by; 1 for queries that are divided already.
        compiled: whether a kernel may compute it, if one can.

    Returns:
        (rows, heads, new, width) in the dtype of the products.
    """
    assert isinstance(layer, PlainLayer | ForkedLayer)
    if compiled and query.device.type == "cpu":
        mixed = _attend_compiled(_scaled(query, scale), layer)
        if mixed is not None:
            return mixed
    if isinstance(layer, ForkedLayer):
        return _attend_forked(_scaled(query, scale), layer, mask)
    return attend_fused(query, layer, scale)


def attend_fused(query: torch.Tensor, layer: PlainLayer, scale: float = 1.0) -> torch.Tensor:
    """Attend as `attend` does, in one call; the products are in the dtype of the keys, on a processor in float32."""
    keys, values = (_computable(part) for part in layer.filled())
    new, total = query.shape[2], keys.shape[2]
    mask = None if new in (1, total) else visible(new, total, query.device)
    if mask is not None and query.is_cuda:
        # With a mask, a GPU's fused kernels know only heads of keys that are not shared.
        sharing = query.shape[1] // keys.shape[1]
        keys, values = (
            part.repeat_interleave(sharing, 1) if sharing > 1 else part for part in (keys, values)
        )
    return scaled_dot_product_attention(
        query.to(keys.dtype),
        keys,
        values,
        attn_mask=mask,
        is_causal=new == total > 1,
        scale=scale,
        enable_gqa=keys.shape[1] < query.shape[1],
    )


def attend_padded(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, hidden: torch.Tensor, scale: float = 1.0
) -> torch.Tensor:
    """Attend to what buffers hold, without what is hidden.

    Args:
        query: (rows, heads, new, width).
        keys: (rows, heads, tokens, width), finite also where they are hidden; as are the values. Neighbouring heads of
            queries may share one.
        hidden: (rows, 1, new, tokens), true where a new position must not see a token.
        scale: as for `attend`.

    Returns:
        (rows, heads, new, width) in the dtype of the products.
    """
    rows, heads, new, width = query.shape
    # Queries that share keys are more tokens of one head.
    grouped = _scaled(query, scale).reshape(rows, keys.shape[1], -1, width)
    scores = grouped @ keys.float().transpose(2, 3)
    weights = scores.view(rows, heads, new, -1).masked_fill_(hidden, -torch.inf).softmax(-1)
    values = _computable(values)
    return (weights.to(values.dtype).view(scores.shape) @ values).view(query.shape)


@lru_cache(maxsize=2)
def visible(new: int, total: int, device: torch.device) -> torch.Tensor:
    """Return which of `total` positions each of the last `new` ones sees, always the same tensor for a whole pass."""
    return torch.ones(new, total, dtype=torch.bool, device=device).tril_(total - new)


def _attend_compiled(query: torch.Tensor, layer: PlainLayer | ForkedLayer) -> torch.Tensor | None:
    """Return what the kernel computes, None where it can't. Its library is loaded where it is used, and only there."""
    from codegen_lsp.engine.quantized import attention

    if isinstance(layer, PlainLayer):
        return attention.attend(query, *layer.filled())
    keys, values = layer.filled()
    return attention.attend_forked(query, (keys.shared, values.shared), (keys.tails, values.tails))


def _attend_forked(query: torch.Tensor, layer: ForkedLayer, mask: torch.Tensor | None) -> torch.Tensor:
    rows, all_heads, new, width = query.shape
    keys, values = layer.shared
    tail_keys, tail_values = (part.tails.flatten(0, 1) for part in layer.filled())
    border, heads = layer.prompt, len(keys)
    # Queries that share keys are more tokens of one head.
    query = query.reshape(rows, heads, -1, width)
    count = query.shape[2]
    # All rows at once for the prompt, each for itself in its tail.
    together = query.transpose(0, 1).reshape(heads, rows * count, width)
    of_prompt = torch.bmm(together, keys.float().transpose(1, 2)).view(heads, rows, count, border)
    of_tails = torch.bmm(query.reshape(rows * heads, count, width), tail_keys.float().transpose(1, 2))
    scores = torch.cat([of_prompt.transpose(0, 1), of_tails.view(rows, heads, count, -1)], -1)
    values, tail_values = _computable(values), _computable(tail_values)
    weights = _softmax(scores.view(rows, all_heads, new, -1), mask).to(values.dtype).view(scores.shape)
    together = weights[..., :border].transpose(0, 1).reshape(heads, rows * count, border)
    mixed = torch.bmm(together, values).view(heads, rows, count, width).transpose(0, 1)
    own = torch.bmm(weights[..., border:].reshape(rows * heads, count, -1), tail_values)
    return (mixed + own.view(mixed.shape)).reshape(rows, all_heads, new, width)


def _softmax(scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    if mask is not None:
        scores[..., -mask.shape[0] :].masked_fill_(mask, -torch.inf)
    return scores.softmax(-1)


def _scaled(query: torch.Tensor, scale: float) -> torch.Tensor:
    """Return queries in float32, multiplied as their products with keys would be."""
    return query.float() if scale == 1 else query.float() * scale


def _computable(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.device.type == "cpu" else values
