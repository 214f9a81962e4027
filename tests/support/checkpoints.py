"""Small checkpoints of random weights, made where a test needs them; no network, no fixed files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CodeGenConfig, CodeGenForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

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


def save(folder: Path, model: PreTrainedModel, **options: Any) -> Path:
    """Write a checkpoint with the tokenizer of `make_tokenizer`."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, **options)
    make_tokenizer().save_pretrained(folder)
    return folder
