"""Read the tokenizer of a GGUF file as transformers does, and mend what it gets wrong.

transformers splits words as GPT-2 does where a file names a kind of tokenizer that it doesn't know; kinds that
split otherwise are set right here, or refused. It also loses tokens for runs of spaces in byte-level vocabularies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

USER_DEFINED = 4
"""The kind of a token that is always found in a text."""

WORDS_AS_GPT2 = frozenset({None, "default", "gpt-2", "mpt", "olmo", "jais", "phi-2", "trillion"})
DIGITS_APART = frozenset(
    {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum"}
)
"""Kinds of tokenizers that make a token of each digit, and split words as GPT-2 otherwise."""

ENDS = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<｜end▁of▁sentence｜>",
    "<EOT>",
    "</s>",
)
"""Tokens that end a text, if a file marks them as control tokens."""


def gguf_tokenizer(path: Path, context: int) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """Return the tokenizer of a GGUF file, and the ids of the tokens that end a text."""
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf.gguf_tokenizer_mapping import (
        GGUF_PRE_TOKENIZER_SPLITS,
        convert_gguf_tokenizer,
        get_gguf_tokenizer,
    )

    architecture, description, names = get_gguf_tokenizer(str(path))
    tokenizer, _ = convert_gguf_tokenizer(architecture, description)
    if description.get("tokenizer_type") == "gpt2":
        tokenizer = _with_plain_tokens(tokenizer, description)
    kind = description.get("pre_tokenizer_type")
    if description.get("tokenizer_type") == "gpt2" and kind in DIGITS_APART:
        _split_digits(tokenizer)
    elif description.get("tokenizer_type") == "gpt2" and kind not in WORDS_AS_GPT2 | {
        *GGUF_PRE_TOKENIZER_SPLITS
    }:
        raise CheckpointError(
            f"{path} has a tokenizer of the kind {str(kind)[:60]!r}, which is not supported"
        )
    special = {t.content: i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special}
    ends = [special[token] for token in ENDS if token in special]
    named = {
        name: names[name] for name in ("bos_token", "eos_token", "unk_token", "pad_token") if names.get(name)
    }
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=context, **named)
    return whole, ends


def _with_plain_tokens(tokenizer: Tokenizer, description: Mapping[str, Any]) -> Tokenizer:
    """Return a byte-level tokenizer in which tokens of the user that are written as text, such as runs of spaces, are
    added tokens with the ids of the file."""
    from tokenizers import pre_tokenizers

    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    kinds = zip(description["tokens"], description.get("token_type") or (), strict=False)
    plain = {
        i: token for i, (token, kind) in enumerate(kinds) if kind == USER_DEFINED and set(token) - alphabet
    }
    parts: dict[str, Any] = json.loads(tokenizer.to_str())
    # The file's own spelling: transformers spells a run of spaces as the word that merges give, and loses that word.
    parts["model"]["vocab"] = {token: i for i, token in enumerate(description["tokens"])}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    others = [token for token in parts["added_tokens"] if token["id"] not in plain]
    added = [{"id": i, "content": token, **flags} for i, token in plain.items()]
    parts["added_tokens"] = sorted(others + added, key=lambda token: int(token["id"]))
    return type(tokenizer).from_str(json.dumps(parts))


def _split_digits(tokenizer: Tokenizer) -> None:
    from tokenizers import pre_tokenizers

    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
