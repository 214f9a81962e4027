"""The forward pass of Llama and its relatives with quantized weights on the processor.

transformers' modules spend most of a step of a small model between matrix products: with 135 million parameters,
three quarters. Steps of few tokens are one program here (`compiled`); prompts are made of fewer calls. Rows share the
keys and values of a prompt, as CodeGen's do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import rms_norm, silu
from transformers import LlamaForCausalLM, MistralForCausalLM, PreTrainedModel, Qwen2ForCausalLM

from codegen_lsp.engine.model.attention import attend
from codegen_lsp.engine.model.kv_layout import Layout
from codegen_lsp.engine.model.networks.network import Network, by_pass, has_float_norms_on_processor
from codegen_lsp.engine.model.passes import Pass, flat, positions
from codegen_lsp.engine.quantized.layers import QuantizedLinear

LLAMAS = (LlamaForCausalLM, Qwen2ForCausalLM, MistralForCausalLM)
"""The architectures whose layers are Llama's, but for biases."""


class LlamaNetwork(Network):
    """The forward pass over the modules of one model."""

    def __init__(self, module: PreTrainedModel) -> None:
        """Take a model that `is_supported`."""
        super().__init__(module)
        from codegen_lsp.engine.model.compiled.llama_step import compiled_step

        config: Any = module.config
        self._body: Any = module.model
        self.final_norm = self._body.norm
        self.layer_count = len(self._body.layers)
        self._width: int = self._body.layers[0].self_attn.head_dim
        self._step = compiled_step(module, config.max_position_embeddings)

    def record_steps(self, layout: Layout, recorder: object) -> bool:
        """Return false: these models are computed here on processors alone."""
        del layout, recorder
        return False

    def states_of(self, passes: Sequence[Pass]) -> Iterator[torch.Tensor]:
        """Yield the residual stream as `Network` says."""
        x: torch.Tensor = self._body.embed_tokens(flat(passes))
        yield x
        cosines, sines = self._body.rotary_emb(x, positions(passes)[None])
        turns = cosines[0, :, None], sines[0, :, None]
        for index, block in enumerate(self._body.layers):
            mixed = self._mix(block.self_attn, _normed(block.input_layernorm, x), passes, index, turns)
            x = mixed.add_(x)
            normed, gated = _normed(block.post_attention_layernorm, x), block.mlp
            hidden = silu(gated.gate_proj(normed)).mul_(gated.up_proj(normed))
            x = gated.down_proj(hidden).add_(x)
            yield x

    def _mix(
        self,
        attention: Any,
        x: torch.Tensor,
        passes: Sequence[Pass],
        index: int,
        turns: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Return what attention adds to the residual stream (tokens, width)."""
        heads = (
            tokens.view(len(x), -1, self._width) for tokens in (attention.q_proj(x), attention.k_proj(x))
        )
        queries, keys = (_rotated(part, *turns) for part in heads)
        queries = queries.mul_(self._width**-0.5)
        values = attention.v_proj(x).view(len(x), -1, self._width)

        def attend_each(part: Pass, own: slice) -> torch.Tensor:
            return self._attend(part, index, queries[own], keys[own], values[own])

        out: torch.Tensor = attention.o_proj(by_pass(passes, attend_each))
        return out

    def _attend(
        self, part: Pass, index: int, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Return the mixed values (tokens, heads * width) of one pass, whose keys and values are stored."""
        layer: Any = part.kv.cache.layers[index]
        rows, new = part.rows, part.new
        query, key, value = (
            states.view(rows, new, -1, self._width).transpose(1, 2) for states in (queries, keys, values)
        )
        layer.update(key, value)
        mixed = attend(query, layer, self.mask(new, query.device), compiled=True)
        return mixed.transpose(1, 2).reshape(rows * new, -1)


def is_supported(module: PreTrainedModel) -> bool:
    """Return whether a model has quantized weights on the processor, and attention and activations as here."""
    config: Any = module.config
    body: Any = module.model
    kinds = getattr(config, "layer_types", None) or []
    windows = getattr(config, "sliding_window", None) is not None and not kinds
    return (
        isinstance(module.get_output_embeddings(), QuantizedLinear)
        and has_float_norms_on_processor(module, body.norm)
        and config.hidden_act == "silu"
        and body.layers[0].self_attn.scaling == body.layers[0].self_attn.head_dim ** -0.5
        and set(kinds) <= {"full_attention"}
        and not windows
    )


def _normed(norm: Any, x: torch.Tensor) -> torch.Tensor:
    return rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _rotated(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """Return heads (tokens, heads, width) whose halves are turned together."""
    low, high = x.chunk(2, -1)
    return (x * cosines).add_(torch.cat([-high, low], -1).mul_(sines))
