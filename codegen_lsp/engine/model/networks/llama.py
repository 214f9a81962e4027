"""The forward pass of Llama and its relatives.

transformers' modules spend most of a step of a small model between matrix products: with 135 million parameters,
three quarters. Here steps of few tokens are one program on the processor, if the weights are quantized (`compiled`),
and are recorded on a GPU (`graphs`); prompts are made of fewer calls. Rows share the keys and values of a prompt, as
CodeGen's do. Numbers are rounded where transformers rounds them: norms before they are multiplied by their weights,
turned queries and keys after each operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import rms_norm, silu
from transformers import LlamaForCausalLM, MistralForCausalLM, PreTrainedModel, Qwen2ForCausalLM

from codegen_lsp.engine.architectures import has_own_network
from codegen_lsp.engine.model.networks.network import (
    Attend,
    Network,
    device_of,
    has_float_norms_on_processor,
    is_in_one_place,
    only,
)
from codegen_lsp.engine.quantized.layers import QuantizedLinear

if TYPE_CHECKING:
    from codegen_lsp.engine.model.compiled.step import CompiledStep

LLAMAS = (LlamaForCausalLM, Qwen2ForCausalLM, MistralForCausalLM)
"""The architectures whose layers are Llama's, but for biases."""

HeadTurns = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines (tokens, 1, width) of the angles by which halves of heads are turned."""


class LlamaNetwork(Network):
    """The forward pass over the modules of one model."""

    def __init__(self, module: PreTrainedModel) -> None:
        """Take a model that `is_supported`."""
        super().__init__(module)
        config: Any = module.config
        self._body: Any = module.model
        self.final_norm = self._body.norm
        self.layer_count = len(self._body.layers)
        self.device = device_of(self._body.embed_tokens)
        self.limit = config.max_position_embeddings
        self.scale = self._body.layers[0].self_attn.scaling
        self._width: int = self._body.layers[0].self_attn.head_dim
        self._keys: int = config.num_key_value_heads
        """Number of heads of keys, and of values."""
        turning: Any = self._body.rotary_emb
        self._frequencies = turning.inv_freq.to(self.device, torch.float32)
        self._amplitude: float = turning.attention_scaling
        self._step = _compiled_step(module)

    def layers(
        self, tokens: torch.Tensor, order: torch.Tensor, attend_to: Attend, kept: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield the residual stream as `Network` says."""
        x: torch.Tensor = self._body.embed_tokens(tokens)
        yield x
        turns = self._turns(order, x.dtype)
        for index, block in enumerate(self._body.layers):
            mixed = self._mix(block.self_attn, _normed(block.input_layernorm, x), index, turns, attend_to)
            if index == self.layer_count - 1:
                mixed, x = only(kept, mixed, x)
            x = block.self_attn.o_proj(mixed).add_(x)
            normed, gated = _normed(block.post_attention_layernorm, x), block.mlp
            hidden = silu(gated.gate_proj(normed)).mul_(gated.up_proj(normed))
            x = gated.down_proj(hidden).add_(x)
            yield x

    def _turns(self, order: torch.Tensor, dtype: torch.dtype) -> HeadTurns:
        """Return the turns at some positions; the sines of first halves are negative."""
        angles = order[:, None].float() * self._frequencies
        cosines, sines = angles.cos(), angles.sin()
        if self._amplitude != 1:
            cosines, sines = cosines * self._amplitude, sines * self._amplitude
        pairs = torch.cat([cosines, cosines], -1), torch.cat([-sines, sines], -1)
        return pairs[0][:, None].to(dtype), pairs[1][:, None].to(dtype)

    def _mix(
        self, attention: Any, x: torch.Tensor, index: int, turns: HeadTurns, attend_to: Attend
    ) -> torch.Tensor:
        """Return the mixed values (tokens, width)."""
        heads = torch.cat([attention.k_proj(x), attention.q_proj(x)], -1).view(len(x), -1, self._width)
        heads = _turned(heads, *turns)
        keys, queries = heads[:, : self._keys], heads[:, self._keys :]
        values = attention.v_proj(x).view(keys.shape)
        # One chunk of heads.
        states = torch.stack([values, keys], 1)[:, :, None]
        return attend_to(queries, states, index).to(x.dtype)


def is_supported(module: PreTrainedModel) -> bool:
    """Return whether a model is on one device, and has attention and activations as here."""
    body: Any = module.model
    attention = body.layers[0].self_attn
    return (
        is_in_one_place(module)
        and has_own_network(module.config)
        and attention.scaling == attention.head_dim**-0.5
    )


def _compiled_step(module: PreTrainedModel) -> CompiledStep | None:
    """Return the compiled forward pass over few tokens, None if this model can't have one."""
    body, config = module.model, module.config
    is_quantized = isinstance(module.get_output_embeddings(), QuantizedLinear)
    if not is_quantized or not has_float_norms_on_processor(module, body.norm):
        return None
    from codegen_lsp.engine.model.compiled.llama_step import compiled_step

    return compiled_step(module, config.max_position_embeddings)


def _normed(norm: Any, x: torch.Tensor) -> torch.Tensor:
    """Normalise by the root mean square, in float32; the result is rounded before the weights are multiplied."""
    if x.dtype == torch.float32:
        return rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)
    normed: torch.Tensor = rms_norm(x, norm.weight.shape, None, norm.variance_epsilon).mul_(norm.weight)
    return normed


def _turned(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """Return heads (tokens, heads, width) whose halves are turned together."""
    return (x * cosines).add_(x.roll(x.shape[-1] // 2, -1).mul_(sines))
