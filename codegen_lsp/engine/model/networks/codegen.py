"""CodeGen's forward pass, written for few rows and few tokens: transformers' modules without their wrapping.

Knows the arithmetic of transformers' CodeGen and this engine's KV caches. Calls the linear and norm modules themselves,
so that everything done to them (weights on other devices or on disk, quantization) applies here too. A step of a small
model consists mostly of calls: this makes a third as many.

The linear layers read the tokens of all requests that share a pass at once; attention goes request by request. What
computes attention is passed in: steps at addresses that stay (`graphs`) have their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import gelu
from transformers import CodeGenForCausalLM
from transformers.activations import NewGELUActivation

from codegen_lsp.engine.checkpoints.dimensions import chunks_of
from codegen_lsp.engine.model.compiled.threads import SMALL
from codegen_lsp.engine.model.networks.network import (
    Attend,
    Network,
    device_of,
    has_float_norms_on_processor,
    only,
)
from codegen_lsp.engine.quantized.layers import QuantizedLinear

if TYPE_CHECKING:
    from codegen_lsp.engine.model.compiled.step import CompiledStep


class CodeGenNetwork(Network):
    """The forward pass over the modules of one CodeGen model."""

    def __init__(self, module: CodeGenForCausalLM) -> None:
        """Take a model with weights."""
        super().__init__(module)
        self._body: Any = module.transformer
        self.final_norm = self._body.ln_f
        self.layer_count = len(self._body.h)
        first: Any = module.transformer.h[0]
        self._heads: int = first.attn.num_attention_heads
        self._width: int = first.attn.head_dim
        config: Any = module.config
        self._chunks = chunks_of(config.n_layer, config.n_embd, getattr(config, "mp_num", None))
        self.device = device_of(self._body.wte)
        self.limit = first.attn.max_positions
        self._devices = [device_of(block.ln_1) for block in self._body.h]
        turns = _turns(first.attn)
        self._turns = {device: turns.to(device) for device in {*self._devices}}
        self._step = _compiled_step(module, turns, self._chunks)
        if self._step is None:
            for layer in module.modules():
                if type(layer) is nn.Linear and layer.weight is not module.transformer.wte.weight:
                    _store_by_inputs(layer)
        self._activation = _activation(first.mlp.act, has_kernels=self._step is not None)

    def layers(
        self, tokens: torch.Tensor, order: torch.Tensor, attend_to: Attend, kept: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield the residual stream as `Network` says."""
        turns = {device: table[order.to(device)] for device, table in self._turns.items()}
        x: torch.Tensor = self._body.wte(tokens)
        yield x
        for index, (block, device) in enumerate(zip(self._body.h, self._devices, strict=True)):
            x = x.to(device)
            normed = block.ln_1(x)
            mixed = self._mix(block.attn, normed, index, turns[device], attend_to).to(normed.dtype)
            if index == self.layer_count - 1:
                mixed, normed, x = only(kept, mixed, normed, x)
            hidden = self._activation(block.mlp.fc_in(normed))
            x = block.attn.out_proj(mixed).add_(block.mlp.fc_out(hidden)).add_(x)
            yield x

    def _mix(
        self, attention: Any, x: torch.Tensor, index: int, turns: torch.Tensor, attend_to: Attend
    ) -> torch.Tensor:
        """Return the mixed values (tokens, width)."""
        # Queries, values and keys of each chunk of heads. Queries and keys are rotated in place, pairs of numbers as
        # complex ones; the rotation of queries also divides them by the square root of the width.
        parts = (
            attention.qkv_proj(x).float().view(-1, self._chunks, 3, self._heads // self._chunks, self._width)
        )
        torch.view_as_complex(parts[:, :, 0::2].unflatten(-1, (-1, 2))).mul_(turns)
        # (tokens, 3, chunks, heads of a chunk, width)
        parts = parts.transpose(1, 2)
        return attend_to(parts[:, 0].flatten(1, 2), parts[:, 1:], index)


def _compiled_step(module: CodeGenForCausalLM, turns: torch.Tensor, chunks: int) -> CompiledStep | None:
    """Return the compiled forward pass over few tokens, None if this model can't have one or gains nothing by it."""
    first: Any = module.transformer.h[0]
    is_quantized = isinstance(module.lm_head, QuantizedLinear)
    if not has_float_norms_on_processor(module, module.transformer.ln_f):
        return None
    if not isinstance(first.mlp.act, NewGELUActivation) or not (is_quantized or _is_small(module)):
        return None
    from codegen_lsp.engine.model.compiled.codegen_step import compiled_step

    return compiled_step(module, turns, chunks)


def _is_small(module: CodeGenForCausalLM) -> bool:
    """Return whether a model's steps consist mostly of calls, so that a copy of its weights for kernels pays."""
    return module.num_parameters() < SMALL


@torch.no_grad()
def _store_by_inputs(layer: nn.Linear) -> None:
    """Store a matrix so that the weights of one input follow each other; its shape stays.

    Products of few rows are up to three times as fast on processors: the library behind them does not have to turn the
    matrix first.
    """
    weight = layer.weight
    if weight.device.type == "cpu" and weight.dtype == torch.float32 and not hasattr(layer, "_hf_hook"):
        layer.weight = nn.Parameter(weight.t().contiguous().t(), requires_grad=False)


def _turns(attention: Any) -> torch.Tensor:
    """Return the rotations of queries and keys at each position, as complex numbers (positions, 1, 2, 1, width / 2).

    Beyond the rotary part they are 1. Those of queries are divided by the square root of the width. The angles are as
    in transformers' `create_sinusoidal_positions` (Su et al., RoFormer, arXiv 2104.09864, section 3.2).
    """
    rotary = attention.pos_embd_dim
    inverse = 1.0 / (10000 ** (torch.arange(0, rotary, 2, dtype=torch.int64) / rotary))
    angles = torch.arange(attention.max_positions).float()[:, None] * inverse
    turns = torch.ones(attention.max_positions, attention.head_dim // 2, dtype=torch.complex64)
    turns[:, : rotary // 2] = torch.complex(angles.cos(), angles.sin())
    scales = torch.tensor([1 / math.sqrt(attention.head_dim), 1.0])
    return (turns[:, None, :] * scales[None, :, None])[:, None, :, None]


def _activation(activation: nn.Module, *, has_kernels: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the activation after a layer's first product, which it may overwrite."""
    if not isinstance(activation, NewGELUActivation):
        return activation
    if not has_kernels:
        return _gelu_tanh
    from codegen_lsp.engine.quantized.elementwise import gelu_in_place

    return gelu_in_place


def _gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    """Compute transformers' `gelu_new` in one call instead of eight."""
    return gelu(x, approximate="tanh")
