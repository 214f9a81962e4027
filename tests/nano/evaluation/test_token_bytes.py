"""The bytes of tokens, and the tokens that spell given bytes."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from codegen_lsp.nano import MODEL_DIR
from codegen_lsp.nano.corpus.tokenizer import load_tokenizer
from codegen_lsp.nano.evaluation.token_bytes import TokenBytes


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(MODEL_DIR)


def test_every_token_has_the_bytes_that_it_decodes_to(tokenizer: Tokenizer) -> None:
    vocabulary = TokenBytes.of(tokenizer, 8192 + 5)
    text = "def f(x):\n        return 'é漢👩' if x else None  # \x00\t\t\r\n"
    ids = tokenizer.encode(text).ids
    assert b"".join(vocabulary.texts[token] or b"" for token in ids) == text.encode()
    assert sum(item is None for item in vocabulary.texts) == 1 + 5
    assert {bytes([byte]) for byte in range(256)} <= set(vocabulary.texts)


def test_only_tokens_that_spell_what_is_owed_may_begin(tokenizer: Tokenizer) -> None:
    vocabulary = TokenBytes.of(tokenizer, 8192)
    texts = [vocabulary.texts[token] for token in vocabulary.spelling(b" pri")]
    assert all(text and (text.startswith(b" pri") or b" pri".startswith(text)) for text in texts)
    assert {b" ", b" p", b" print"} <= set(texts)
    assert len(vocabulary.spelling(b"")) == 8191
