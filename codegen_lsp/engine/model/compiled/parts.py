"""What a compiled step knows of a CodeGen model: its weights as kernels read them, dimensions, and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import CodeGenForCausalLM

from codegen_lsp.engine.model.compiled.workspace import Workspace
from codegen_lsp.engine.quantized.layers import FEW_ROWS, QuantizedLinear
from codegen_lsp.engine.quantized.products import HalfWeights, KernelWeights
from codegen_lsp.engine.quantized.writer import is_fast_processor, vector_width


class StepParts:
    """The layers of one model, and what all of its programs share."""

    def __init__(
        self,
        module: CodeGenForCausalLM,
        weights: Mapping[nn.Module, KernelWeights],
        turns: torch.Tensor,
        chunks: int,
    ) -> None:
        """Take a model, what `weights_of` says of it, and its rotations of queries and keys as complex numbers."""
        first: Any = module.transformer.h[0]
        self.embed: Any = module.transformer.wte
        self.weights = weights
        self.packs = next(iter(weights.values())).format != "bfloat16"
        """Whether products take inputs in integers."""
        self.blocks: Sequence[Any] = list(module.transformer.h)
        self.final_norm: Any = module.transformer.ln_f
        self.head = weights[module.lm_head]
        self.heads: int = first.attn.num_attention_heads
        self.width: int = first.attn.head_dim
        self.rotary: int = first.attn.pos_embd_dim
        self.chunk = self.heads // chunks
        self.embedding = self.heads * self.width
        self.inner: int = first.mlp.fc_in.out_features
        keys = turns[:, 0, 1, 0, : self.rotary // 2]
        self.cosines = keys.real.repeat_interleave(2, -1).contiguous()
        self.sines = torch.stack([-keys.imag, keys.imag], -1).flatten(1).contiguous()
        self.order = torch.arange(FEW_ROWS)
        self.workspace = Workspace(self.embedding, self.inner, len(turns), packs=self.packs)


def weights_of(module: CodeGenForCausalLM) -> Mapping[nn.Module, KernelWeights] | None:
    """Return the weights of linear layers as kernels read them; None if the kernels can't compute this model.

    They need everything in memory, norms in float32, and heads of whole vectors.
    """
    first: Any = module.transformer.h[0]
    widths = (first.attn.head_dim, first.attn.pos_embd_dim)
    if (
        any(hasattr(layer, "_hf_hook") for layer in module.modules())
        or any(parameter.device.type != "cpu" for parameter in module.parameters())
        or module.transformer.ln_f.weight.dtype != torch.float32
        or any(width % vector_width() for width in widths)
    ):
        return None
    weights: dict[nn.Module, KernelWeights] = {}
    for layer in module.modules():
        if isinstance(layer, QuantizedLinear):
            weights[layer] = layer
        elif type(layer) is nn.Linear:
            half = HalfWeights.of(layer) if is_fast_processor() else None
            if half is None:
                return None
            weights[layer] = half
    return weights if len({part.format == "bfloat16" for part in weights.values()}) == 1 else None
