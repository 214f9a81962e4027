"""The bytes of the tokens of a byte-level vocabulary, as token healing needs them.

Knows tokenizers, no models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer


class TokenBytes:
    """The bytes of every token, and the tokens that are allowed when given bytes have to be spelled."""

    def __init__(self, texts: Sequence[bytes | None]) -> None:
        self.texts = texts
        self._spelling: dict[bytes, NDArray[np.int64]] = {}

    @classmethod
    def of(cls, tokenizer: Tokenizer, size: int) -> TokenBytes:
        """Return the bytes of `size` tokens of a byte-level tokenizer; None for special and missing tokens."""
        alphabet = _byte_alphabet()
        added = tokenizer.get_added_tokens_decoder()
        texts: list[bytes | None] = []
        for token_id in range(size):
            token = tokenizer.id_to_token(token_id)
            if token is None or (token_id in added and added[token_id].special):
                texts.append(None)
            elif token_id in added:
                texts.append(token.encode())
            else:
                texts.append(bytes(alphabet[character] for character in token))
        return cls(texts)

    def spelling(self, owed: bytes) -> NDArray[np.int64]:
        """Return the ids of the tokens that begin with `owed` or are a prefix of it; all tokens if `owed` is empty.

        For example, after the prefix "x = pri" is cut to "x =", the bytes b" pri" are owed, and " p" and " print"
        are allowed.
        """
        if owed not in self._spelling:
            self._spelling[owed] = np.array(
                [
                    i
                    for i, text in enumerate(self.texts)
                    if text and (text.startswith(owed) or owed.startswith(text))
                ]
            )
        return self._spelling[owed]

    def ragged(self, ids: Sequence[int]) -> int:
        """Return how many tokens at the end of a prefix may be part of a longer token: its last word, at most 3."""
        for count in range(1, min(3, len(ids)) + 1):
            text = self.texts[ids[-count]]
            if text is None:
                return count - 1
            if not text.isalnum() or count == 3:
                return count
        return len(ids)


def _byte_alphabet() -> dict[str, int]:
    """Return the byte that each character of a byte-level vocabulary stands for (GPT-2's table)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + index): byte for index, byte in enumerate(others)}
