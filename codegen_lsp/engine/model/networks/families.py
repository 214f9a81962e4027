"""Which of this engine's forward passes computes a model."""

from __future__ import annotations

from transformers import CodeGenForCausalLM, PreTrainedModel

from codegen_lsp.engine.model.networks.codegen import CodeGenNetwork
from codegen_lsp.engine.model.networks.llama import LLAMAS, LlamaNetwork, is_supported
from codegen_lsp.engine.model.networks.network import Network


def network_of(module: PreTrainedModel) -> Network | None:
    """Return the forward pass for a model; None leaves it to transformers."""
    if type(module) is CodeGenForCausalLM:
        return CodeGenNetwork(module)
    if type(module) in LLAMAS and is_supported(module):
        return LlamaNetwork(module)
    return None
