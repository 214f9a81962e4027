"""Tokenizers and tiny models for fill-in-the-middle."""

from __future__ import annotations

from functools import cache

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from codegen_lsp.engine.model.vocabulary import Vocabulary
from codegen_lsp.wire.fill.families import CONTROL_TOKENS, FAMILIES, by_family
from codegen_lsp.wire.fill.formats import FillFormat, is_control
from support.checkpoints import END, make_tokenizer

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
