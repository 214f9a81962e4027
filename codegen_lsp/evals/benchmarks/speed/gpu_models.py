"""The models that are measured on a GPU: nano, or random weights in the shape of others, made where they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import (
    CodeGenConfig,
    CodeGenForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER
from codegen_lsp.engine.checkpoints.dimensions import SIZES
from codegen_lsp.engine.checkpoints.tokenizer import load_tokenizer
from codegen_lsp.engine.model.graphs.recorders import CudaRecorder, Unrecorded
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.vocabulary import Vocabulary
from codegen_lsp.engine.quantized.layers import QuantizedLinear
from codegen_lsp.wire.config import EngineConfig

CONTEXT = 2048
"""Maximum number of tokens of prompt and completion together."""


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The dimensions of a relative of Llama whose head is its embedding table."""

    model: Any
    config: Any
    words: int
    width: int
    inner: int
    layers: int
    heads: int
    keys: int
    """Number of heads of keys and values."""
    context: int
    theta: float
    """Base of the angles that positions turn queries and keys by."""

    def build(self) -> PreTrainedModel:
        """Return the model with random weights."""
        config = self.config(
            vocab_size=self.words,
            hidden_size=self.width,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.keys,
            max_position_embeddings=self.context,
            rope_parameters={"rope_type": "default", "rope_theta": self.theta},
            tie_word_embeddings=True,
        )
        made: PreTrainedModel = self.model(config)
        return made


OTHERS: Mapping[str, LlamaShape] = {
    "smollm2-135m": LlamaShape(LlamaForCausalLM, LlamaConfig, 49_152, 576, 1536, 30, 9, 3, 8192, 1e5),
    "qwen2.5-0.5b": LlamaShape(Qwen2ForCausalLM, Qwen2Config, 151_936, 896, 4864, 24, 14, 2, 32_768, 1e6),
}
"""Models that are not CodeGen, in the shapes that their publishers gave them."""


def module_of(size: str, device: str = "cuda") -> PreTrainedModel:
    """Return a model in bfloat16 on a device: nano, or random weights in the shape of a size.

    Raises:
        KeyError: the size is unknown.
    """
    if size == "nano":
        loader: Any = CodeGenForCausalLM
        nano: PreTrainedModel = loader.from_pretrained(NANO_FOLDER, dtype=torch.bfloat16).to(device).eval()
        return nano
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            if size in OTHERS:
                made: Any = OTHERS[size].build()
            else:
                made = CodeGenForCausalLM(CodeGenConfig(**SIZES[size].config()))
    finally:
        torch.set_default_dtype(before)
    made.tie_weights()
    module: PreTrainedModel = made.eval()
    return module


@torch.inference_mode()
def quantize(module: PreTrainedModel) -> None:
    """Give all linear layers of a model int8 weights; a table that is the head as well keeps its own."""
    linear = [name for name, part in module.named_modules() if type(part) is nn.Linear]
    for name in linear:
        layer: Any = module.get_submodule(name)
        path, _, child = name.rpartition(".")
        setattr(
            module.get_submodule(path), child, QuantizedLinear.from_weight(layer.weight, "int8", layer.bias)
        )


def model_of(module: PreTrainedModel, name: str, *, recorded: bool) -> Model:
    """Return the engine's model of a module, with steps that are replayed or made of calls.

    All models get nano's tokenizer.
    """
    tokenizer = load_tokenizer(locate.of(EngineConfig()), NANO_FOLDER)
    size, start = int(module.config.vocab_size), int(tokenizer.eos_token_id)
    model = Model(module, Vocabulary(tokenizer.backend_tokenizer, size, [start], start), name, CONTEXT)
    model.record_steps(CudaRecorder(model.input_device) if recorded else Unrecorded())
    return model


def read_bytes(module: PreTrainedModel) -> int:
    """Return the bytes of weights that a step reads: all but the embedding table, if that is not the head as well."""
    table: Any = module.get_input_embeddings()
    head: Any = module.get_output_embeddings()
    is_head = getattr(head, "weight", None) is table.weight
    return sum(weight.nbytes for weight in module.parameters()) - (0 if is_head else int(table.weight.nbytes))
