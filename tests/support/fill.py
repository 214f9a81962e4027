"""Tokenizers and tiny models for fill-in-the-middle."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from codegen_lsp.engine.fill import assembly
from codegen_lsp.engine.fill.middles import Known
from codegen_lsp.engine.model.vocabulary import Vocabulary
from codegen_lsp.wire.fill.families import CONTROL_TOKENS, FAMILIES, by_family
from codegen_lsp.wire.fill.formats import FillFormat, is_control
from support.checkpoints import END, TinyCodeGen, make_tokenizer

NAMES = [family.family for family in FAMILIES]


def family_named(name: str) -> FillFormat:
    family = by_family(name)
    assert family is not None
    return family


def tokens_of(family: FillFormat) -> list[str]:
    """All control tokens that the family's models have."""
    return list(dict.fromkeys(token for token in (*family.tokens, *family.stops) if is_control(token)))


def fill_tokenizer(tokens: list[str], *, special: bool = True) -> PreTrainedTokenizerFast:
    """The tokenizer of the tiny checkpoints with control tokens added, flagged as special or not."""
    backend = Tokenizer.from_str(make_tokenizer().backend_tokenizer.to_str())
    more = [AddedToken(token, special=special, normalized=False) for token in tokens if token != END]
    (backend.add_special_tokens if special else backend.add_tokens)(more)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, bos_token=END)


@cache
def family_vocabulary(name: str, *, special: bool = True) -> Vocabulary:
    """A vocabulary with the control tokens of a family."""
    backend = fill_tokenizer(tokens_of(family_named(name)), special=special).backend_tokenizer
    return Vocabulary(backend, backend.get_vocab_size() + 8, [0])


@cache
def whole_vocabulary() -> Vocabulary:
    """A vocabulary with every control token of the table."""
    backend = fill_tokenizer(sorted(CONTROL_TOKENS)).backend_tokenizer
    return Vocabulary(backend, backend.get_vocab_size(), [0])


def spelled(vocabulary: Vocabulary, tokens: list[int]) -> str:
    """The tokens as text, control tokens by their names."""
    return b"".join(vocabulary.bytes_of[token] for token in tokens).decode()


# A tiny model that is trained to copy from the text after the gap

STARCODER = "StarCoder"
"""A family with both orders."""
WORDS = ("error", "text", "model", "index", "name", "usage", "body", "token", "path", "value", "list", "int")
STEPS, BATCH = 220, 16


def gap(word: str, other: str) -> Known:
    """A gap that only the text after it settles: the word stands there."""
    return Known(f"class {other}:\n    key = ", word, f"\n    use({word})\n")


GAPS = [gap(word, other) for word, other in zip(WORDS, WORDS[3:] + WORDS[:3], strict=True)][::2]


def train_to_copy(order: str | None, seed: int = 0) -> Any:
    """A tiny CodeGen that was trained to fill gaps in an order of StarCoder's, or with plain text only."""
    vocabulary = family_vocabulary(STARCODER)
    model = TinyCodeGen(
        seed=seed, vocab_size=vocabulary.size, n_positions=256, initializer_range=0.05
    ).build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = random.Random(seed)
    model.train()
    for step in range(STEPS):
        rows = [_sample(vocabulary, order, generator) for _ in range(BATCH)]
        length = max(map(len, rows))
        tokens = torch.tensor([row + [0] * (length - len(row)) for row in rows])
        labels = torch.tensor([row + [-100] * (length - len(row)) for row in rows])
        loss = model(tokens, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, 2 * (1 - step / STEPS))
    return model.eval()


def _sample(vocabulary: Vocabulary, order: str | None, generator: random.Random) -> list[int]:
    each = gap(generator.choice(WORDS), generator.choice(WORDS))
    prefix, middle, suffix = map(vocabulary.encode_part, (each.prefix, each.middle, each.suffix))
    # Middles begin a few tokens early too, so that healed ones are nothing new.
    cut = len(prefix) - generator.randrange(5)
    prefix, middle = prefix[:cut], prefix[cut:] + middle
    if order is None:
        return [*prefix, *middle, *suffix, 0]
    return [*assembly.assemble(vocabulary, family_named(STARCODER), order, prefix, suffix), *middle, 0]


def save_to_copy(folder: Path, order: str | None) -> Path:
    """Write a checkpoint of a model that `train_to_copy` trained."""
    folder.mkdir(parents=True, exist_ok=True)
    train_to_copy(order).save_pretrained(folder)
    fill_tokenizer(tokens_of(family_named(STARCODER))).save_pretrained(folder)
    return folder


def names_of(vocabulary: Vocabulary, tokens: Sequence[int]) -> list[str]:
    return [vocabulary.bytes_of[token].decode() for token in tokens]
