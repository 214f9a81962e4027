"""CodeGen's forward pass, written for few rows and few tokens: transformers' modules without their wrapping.

Knows the arithmetic of transformers' CodeGen and this engine's KV caches. Calls the linear and norm modules themselves,
so that everything done to them (weights on other devices or on disk, quantization) applies here too. A step of a small
model consists mostly of calls: this makes a third as many.

Rows that share a prompt read its keys and values once for all of them. The split into a shared prefix and tails is that
of Hydragen (Juravsky et al. 2024, section 3), but both parts go through one softmax, so that there is nothing to merge
afterwards.

Scores and softmax are computed in float32, as CodeGen was trained. On the processor so is the product with the values:
the library behind 16-bit products compiles, and keeps, code for each size that it meets, and the context has another
size at each step.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch.nn.functional import gelu
from transformers import CodeGenForCausalLM, PreTrainedModel
from transformers.activations import NewGELUActivation

from codegen_lsp.engine.model.kv_layers import Forked
from codegen_lsp.engine.model.kv_store import KVStore

TensorParts = torch.Tensor | Forked

CHUNKS = 4
"""CodeGen's projection holds queries, values and keys four times, each for a quarter of the heads, because it was
trained on four cores of a TPU (the released code calls it `mp_num`)."""


class Network:
    """The forward pass over the modules of one CodeGen model."""

    def __init__(self, module: CodeGenForCausalLM) -> None:
        self._module = module
        self._body: Any = module.transformer
        first: Any = module.transformer.h[0]
        self._heads: int = first.attn.num_attention_heads
        self._width: int = first.attn.head_dim
        self._scale = math.sqrt(self._width)
        self._devices = [_device(block.ln_1) for block in self._body.h]
        turns = _turns(first.attn)
        self._turns = {device: turns.to(device) for device in {*self._devices}}
        activation = first.mlp.act
        self._activation: Callable[[torch.Tensor], torch.Tensor] = (
            _gelu_tanh if isinstance(activation, NewGELUActivation) else activation
        )

    def logits(self, tokens: torch.Tensor, kv: KVStore, keep: int | torch.Tensor) -> torch.Tensor:
        """Read tokens (rows, t) at the end of `kv`; return logits (rows, kept, vocabulary) of the kept positions."""
        last = deque(self._states(tokens, kv), maxlen=1)[0]
        kept = last[:, -keep:] if isinstance(keep, int) else last[:, keep.to(last.device)]
        logits: torch.Tensor = self._module.lm_head(self._body.ln_f(kept))
        return logits

    def states(self, tokens: torch.Tensor, kv: KVStore, layer: int) -> torch.Tensor:
        """Return the features (rows, t, width) after `layer` layers; those of the last layer are normalised."""
        count = len(self._devices)
        layer = layer if layer >= 0 else layer + count + 1
        state = next(islice(states := self._states(tokens, kv), layer, None))
        deque(states, maxlen=0)
        final: torch.Tensor = self._body.ln_f(state) if layer == count else state
        return final

    def _states(self, tokens: torch.Tensor, kv: KVStore) -> Iterator[torch.Tensor]:
        """Yield the residual stream: the output of the embedding table, then that of each layer."""
        start, new = kv.length, tokens.shape[1]
        x: torch.Tensor = self._body.wte(tokens)
        yield x
        mask = None
        for block, layer, device in zip(self._body.h, kv.cache.layers, self._devices, strict=True):
            if x.device != device:
                x, mask = x.to(device), None
            if new > 1 and mask is None:
                mask = torch.ones(new, new, dtype=torch.bool, device=device).triu_(1)
            turns = self._turns[device][start : start + new, None, None, None]
            normed = block.ln_1(x)
            mixed = self._mix(block.attn, normed, layer, turns, mask)
            hidden = self._activation(block.mlp.fc_in(normed))
            x = mixed + block.mlp.fc_out(hidden) + x
            yield x

    def _mix(
        self, attention: Any, x: torch.Tensor, layer: Any, turns: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        rows, new, _ = x.shape
        parts = attention.qkv_proj(x).view(rows, new, CHUNKS, 3, self._heads // CHUNKS, self._width)
        # Rotate queries and keys together, pairs of numbers as complex ones.
        pairs = torch.view_as_complex(parts[:, :, :, 0::2].float().unflatten(-1, (-1, 2)))
        turned = torch.view_as_real(pairs * turns).flatten(-2)
        query = turned[:, :, :, 0].flatten(2, 3).transpose(1, 2)
        key = turned[:, :, :, 1].flatten(2, 3).transpose(1, 2).to(x.dtype)
        value = parts[:, :, :, 1].flatten(2, 3).transpose(1, 2)
        keys, values = layer.update(key, value)
        mixed = self._attend(query, keys, values, mask)
        out: torch.Tensor = attention.out_proj(mixed.transpose(1, 2).reshape(rows, new, -1).to(x.dtype))
        return out

    def _attend(
        self, query: torch.Tensor, keys: TensorParts, values: TensorParts, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Attend from the last positions of each row.

        Args:
            query: (rows, heads, new, width), in float32.
            keys, values: (rows, heads, positions, width), or forked.
            mask: (new, new), true where a new position must not see another; None for a single new position.

        Returns:
            (rows, heads, new, width).
        """
        if isinstance(keys, torch.Tensor):
            assert isinstance(values, torch.Tensor)
            weights = self._weights(query @ keys.float().transpose(-1, -2), mask)
            values = _computable(values)
            return weights.to(values.dtype) @ values
        assert isinstance(values, Forked)
        rows, heads, new, width = query.shape
        border = keys.shared.shape[1]
        together = query.transpose(0, 1).reshape(heads, rows * new, width)
        of_prompt = together @ keys.shared.float().transpose(-1, -2)
        of_prompt = of_prompt.view(heads, rows, new, border).transpose(0, 1)
        of_tails = query @ keys.tails.float().transpose(-1, -2)
        shared, tails = _computable(values.shared), _computable(values.tails)
        weights = self._weights(torch.cat([of_prompt, of_tails], -1), mask).to(tails.dtype)
        together = weights[..., :border].transpose(0, 1).reshape(heads, rows * new, border)
        of_prompt = (together @ shared).view(heads, rows, new, width).transpose(0, 1)
        return of_prompt + weights[..., border:] @ tails

    def _weights(self, scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        scores /= self._scale
        if mask is not None:
            scores[..., -mask.shape[0] :].masked_fill_(mask, -torch.inf)
        return scores.softmax(-1)


def network_of(module: PreTrainedModel) -> Network | None:
    """Return the forward pass for a CodeGen model, None for other architectures."""
    return Network(module) if type(module) is CodeGenForCausalLM else None


def _turns(attention: Any) -> torch.Tensor:
    """Return the rotations of positions as complex numbers (positions, width / 2), 1 beyond the rotary part.

    As transformers' `create_sinusoidal_positions` computes them (Su et al., RoFormer, arXiv 2104.09864, section 3.2).
    """
    rotary = attention.pos_embd_dim
    inverse = 1.0 / (10000 ** (torch.arange(0, rotary, 2, dtype=torch.int64) / rotary))
    angles = torch.arange(attention.max_positions).float()[:, None] * inverse
    turns = torch.ones(attention.max_positions, attention.head_dim // 2, dtype=torch.complex64)
    turns[:, : rotary // 2] = torch.complex(angles.cos(), angles.sin())
    return turns


def _device(part: Any) -> torch.device:
    """Return the device of a module's weights, or the one that they are brought to from disk for use."""
    hook = getattr(part, "_hf_hook", None)
    if hook is not None and getattr(hook, "execution_device", None) is not None:
        return torch.device(hook.execution_device)
    device: torch.device = part.weight.device
    return device


def _gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    """Compute transformers' `gelu_new` in one call instead of eight."""
    return gelu(x, approximate="tanh")


def _computable(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.device.type == "cpu" else values
