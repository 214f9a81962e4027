"""Fill-in-the-middle: the two forms of a prompt, and training rows made of samples in these forms.

With p, m and s for prefix, middle and suffix, and CodeGen2's control tokens:

    PSM   p <mask_1> s <|endoftext|> <sep> <mask_1> m <eom>
    SPM   <mask_1> s <|endoftext|> <sep> p m <eom>

PSM is the form of CodeGen2 (Nijkamp et al., 2023). SPM puts the same suffix segment first, and the middle continues
the prefix without a token between them, so that typing only appends tokens to the prompt. In both forms the prompt is
everything before m, and `<eom>` ends the middle. p, m and s are tokenized separately.

In a training row every sample except the first follows an end-of-text token. A document that begins within the row
begins a sample, and a sample never spans two documents. A row depends only on (seed, pool, position).
"""

from __future__ import annotations

import math
from random import Random

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from codegen_lsp.nano.corpus import middles
from codegen_lsp.nano.corpus.corpus import CorpusError
from codegen_lsp.nano.corpus.tokenizer import END_OF_MIDDLE, END_OF_TEXT, MASK, SEPARATOR, plain

FORMATS: dict[str, str | bool] = {
    "psm": f"{{prefix}}{MASK}{{suffix}}{END_OF_TEXT}{SEPARATOR}{MASK}",
    "spm": f"{MASK}{{suffix}}{END_OF_TEXT}{SEPARATOR}{{prefix}}",
    "stop": END_OF_MIDDLE,
    "suffix_ranking": True,
    "left_to_right": True,
}
"""The two forms of a prompt, the token that ends a middle, and how middles are ranked, as in a configuration."""

SPM_SHARE = 2 / 3
"""Share of the samples in SPM form, which lets the KV cache serve the next keystroke."""

PIECE_TOKENS = (64, 1536)
"""Approximate minimum and maximum length of a sample (log-uniform)."""

ROOM = 48
"""Minimum number of tokens for another sample at a row's end; a shorter remainder is plain text."""

TokenIds = NDArray[np.uint16]


class RowFiller:
    """Converts rows of plain text to rows of fill-in-the-middle samples of the same length."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = plain(tokenizer)
        self._end = _id_of(tokenizer, END_OF_TEXT)
        self._mask = _id_of(tokenizer, MASK)
        self._separator = _id_of(tokenizer, SEPARATOR)
        self._end_of_middle = _id_of(tokenizer, END_OF_MIDDLE)

    def fill(self, tokens: TokenIds, generator: Random) -> TokenIds:
        """Return a row of the same length whose documents are cut into samples; the last text may stay plain."""
        row: list[int] = []
        for segment in np.split(tokens, np.flatnonzero(tokens == self._end)):
            if len(segment) and len(row) < len(tokens):
                begins = bool(segment[0] == self._end)
                row += [self._end] * (begins or bool(row))
                row += self._segment(segment[begins:], len(tokens) - len(row), generator)
        row += [self._end] * (len(tokens) - len(row))
        return np.array(row[: len(tokens)], dtype=tokens.dtype)

    def prompt(self, prefix: str, suffix: str, form: str) -> list[int]:
        """Return the tokens of a prompt; `form` is "psm" or "spm"."""
        before, after = self._encode(prefix), self._encode(suffix)
        if form == "psm":
            return [*before, self._mask, *after, self._end, self._separator, self._mask]
        return [self._mask, *after, self._end, self._separator, *before]

    def sample(self, parts: middles.Parts, form: str) -> list[int]:
        """Return a prompt, its middle and `<eom>`."""
        prompt = self.prompt(parts.prefix, parts.suffix, form)
        return [*prompt, *self._encode(parts.middle), self._end_of_middle]

    def _segment(self, segment: TokenIds, room: int, generator: Random) -> list[int]:
        """Return the samples of one document; at most `room` tokens, unless plain text ends them."""
        text = self._tokenizer.decode(list(map(int, segment)), skip_special_tokens=False)
        if "\ufffd" in text:
            return list(map(int, segment))  # the row cuts a character in two
        row: list[int] = []
        width = len(text) / max(1, len(segment))
        while text and room - len(row) >= ROOM:
            tokens = min(_piece_length(generator), 0.9 * (room - len(row)) - 8)
            stop = text.rfind("\n", 0, int(tokens * width)) + 1
            parts = middles.cut(text[: stop or int(tokens * width)], generator)
            form = "spm" if generator.random() < SPM_SHARE else "psm"
            sample = self.sample(parts, form) if parts else []
            if parts is None or len(row) + len(sample) + 1 > room:
                break
            row += [self._end] * bool(row)
            row += sample
            text = text[len(parts.text) - len(parts.beyond) :]
        if text:
            row += [self._end] * bool(row)
            row += self._encode(text)
        return row

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text).ids)


def _id_of(tokenizer: Tokenizer, token: str) -> int:
    number: int | None = tokenizer.token_to_id(token)
    if number is None:
        raise CorpusError(
            f"the tokenizer has no token {token}: run `python -m codegen_lsp.nano tokenizer` again"
        )
    return number


def _piece_length(generator: Random) -> float:
    return math.exp(generator.uniform(*map(math.log, PIECE_TOKENS)))
