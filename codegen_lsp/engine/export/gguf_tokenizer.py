r"""Describe CodeGen's tokenizer to llama.cpp, which then gives the same ids for a text.

llama.cpp splits a text at added tokens before anything else, the longest first, if they are marked as defined by the
user: CodeGen's runs of spaces and tabs. What is left it splits into words by a pattern that it knows by a name, and
merges pairs as byte-level BPE does.

llama.cpp knows GPT-2's pattern, but not the pattern of a tokenizer that cuts numbers into groups of three digits and
gives a preceding space to the first (` ?\p{N}{1,3}`), as nano's does: there, numbers of four and more digits get other
ids of the same text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError

_ENDINGS = (r"'(?:[sdmt]|ll|ve|re)", r"'(?:s|t|re|ve|m|ll|d)", r"'s|'t|'re|'ve|'m|'ll|'d")
"""Ways to write the endings of words in GPT-2's pattern, such as `'ll`."""

_LETTERS, _NUMBERS, _MARKS = r" ?\p{L}+", r" ?\p{N}+", r" ?[^\s\p{L}\p{N}]+"

_SPACE_BEFORE_SPACE, _SPACE = r"\s+(?!\S)", r"\s+"

GPT2_PATTERNS = tuple(
    "|".join((endings, _LETTERS, _NUMBERS, _MARKS, _SPACE_BEFORE_SPACE, _SPACE)) for endings in _ENDINGS
)
"""Ways to write GPT-2's pattern of words."""

LONG_NUMBERS = (
    "llama.cpp has no tokenizer that cuts numbers as this one does: there, numbers of more than three digits get "
    "other tokens, all other text the same ones"
)

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Kinds of tokens in a GGUF file."""


@dataclass(frozen=True, slots=True)
class GgufTokenizer:
    """A byte-level BPE tokenizer as a GGUF file holds it."""

    tokens: list[str]
    kinds: list[int]
    merges: list[str]
    note: str
    """How its ids differ from those of the tokenizer it was made from; an empty string if they don't."""


def gguf_tokenizer(tokenizer: Any, size: int) -> GgufTokenizer:
    """Return a tokenizer for a model with `size` logits.

    Raises:
        CheckpointError: it is not a byte-level BPE tokenizer, or splits words in a way that llama.cpp doesn't know.
    """
    parts: dict[str, Any] = json.loads(tokenizer.to_str())
    note = _check_words(parts)
    tokens = [f"[UNUSED{i}]" for i in range(size)]
    kinds = [UNUSED] * size
    for token, index in parts["model"]["vocab"].items():
        tokens[index], kinds[index] = token, NORMAL
    for added in parts["added_tokens"]:
        index = added["id"]
        tokens[index], kinds[index] = added["content"], CONTROL if added["special"] else USER_DEFINED
    merges = [m if isinstance(m, str) else " ".join(m) for m in parts["model"]["merges"]]
    return GgufTokenizer(tokens, kinds, merges, note)


def _check_words(parts: dict[str, Any]) -> str:
    """Check that llama.cpp can split a text as this tokenizer does; return how it differs."""
    words = parts.get("pre_tokenizer") or {}
    steps = words.get("pretokenizers", [words])
    *splits, level = steps
    patterns = [step.get("pattern", {}).get("Regex", "") for step in splits]
    plain = (
        level.get("type") == "ByteLevel" and not level.get("add_prefix_space") and not parts.get("normalizer")
    )
    if parts["model"].get("type") != "BPE" or not plain or len(patterns) > 1:
        raise CheckpointError("only byte-level BPE tokenizers, as CodeGen's, can be written to a GGUF file")
    if level.get("use_regex", True) and not patterns:
        return ""
    pattern = patterns[0] if patterns else ""
    grouped = re.sub(r"\\p\{N\}\{1,3\}", lambda _: r"\p{N}+", pattern)
    if grouped not in GPT2_PATTERNS or level.get("use_regex"):
        raise CheckpointError(f"llama.cpp can't split words by this tokenizer's pattern {pattern[:100]!r}")
    return "" if pattern == grouped else LONG_NUMBERS
