from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.checkpoints import SPACES, make_tokenizer

from codegen_lsp.engine.checkpoints.checkpoint import NANO, NANO_FOLDER
from codegen_lsp.engine.checkpoints.locate import resolve
from codegen_lsp.engine.checkpoints.tokenizer import load_tokenizer
from codegen_lsp.engine.model.vocabulary import WORD_BYTES, Vocabulary, without_added


class CountingTokenizer:
    """A tokenizer that counts the characters that it reads."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.characters = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def encode(self, text: str, **options: Any) -> Any:
        self.characters += len(text)
        return self.backend.encode(text, **options)


TOKENIZER = make_tokenizer().backend_tokenizer
VOCABULARY = Vocabulary(TOKENIZER, 600, [0])


@given(st.text())
def test_the_bytes_of_a_texts_tokens_are_the_text(text: str) -> None:
    raw = text.encode("utf-8", "replace").decode()
    tokens = VOCABULARY.encode(raw)
    if raw:
        assert b"".join(VOCABULARY.bytes_of[t] for t in tokens).decode() == raw
    else:
        assert tokens == [VOCABULARY.start]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text('ab :\n\t \r\u00a0\u2003\u0301é😀"', min_size=1), min_size=1),
    st.sampled_from(["x\ny", "x\n\n  y", "x:\n        "]),
    st.integers(1, 300),
)
def test_a_long_text_gives_the_tokens_that_it_gives_as_a_whole(
    texts: list[str], joint: str, times: int
) -> None:
    whole = joint.join(texts) * times
    assert VOCABULARY.encode(whole) == TOKENIZER.encode(whole).ids


def test_a_key_in_a_long_text_of_nano_takes_its_last_part_alone() -> None:
    backend = load_tokenizer(resolve(NANO), NANO_FOLDER).backend_tokenizer
    counted: Any = CountingTokenizer(backend)
    vocabulary = Vocabulary(counted, backend.get_vocab_size(), [0])
    text = "class A:\n" + "    def f(self):\n        return self.x\n\n" * 100
    vocabulary.encode(text)
    counted.characters = 0
    assert vocabulary.encode(text + "    d") == backend.encode(text + "    d").ids
    assert 0 < counted.characters < len(text) // 4


def test_ids_without_text() -> None:
    assert VOCABULARY.without_text == list(range(TOKENIZER.get_vocab_size(), 600))


def test_a_special_token_adds_nothing_to_the_text() -> None:
    assert VOCABULARY.output_bytes(0) == b""
    assert VOCABULARY.text_of(0) == "<|endoftext|>"


def test_parts_of_characters_are_named_by_their_bytes() -> None:
    token = next(i for i, raw in enumerate(VOCABULARY.bytes_of) if raw == b"\xe2")
    assert VOCABULARY.text_of(token) == "bytes:\\xe2"


texts = st.text("abdefilmnoprstu _(:.\n\t", min_size=1, max_size=40)


@given(texts)
def test_healing_gives_back_the_last_token_and_what_it_could_be_a_part_of(text: str) -> None:
    tokens = VOCABULARY.encode(text)
    count = VOCABULARY.ragged(tokens)
    assert 1 <= count <= len(tokens)
    tail = b"".join(VOCABULARY.bytes_of[t] for t in tokens[len(tokens) - count :])
    if count > 1:
        assert any(raw.startswith(tail) for raw in VOCABULARY.bytes_of)


def spelled(pending: bytes) -> tuple[list[int], list[int]]:
    """Return the tokens that reach the end of some bytes, and those that spell a part of them."""
    spelling = VOCABULARY.spelling(pending)
    return list(spelling.tokens[: spelling.reaching]), list(spelling.tokens[spelling.reaching :])


def test_spaces_on_their_way_to_a_longer_run_are_given_back() -> None:
    tokens = VOCABULARY.encode("return x" + " " * (SPACES - 1))
    assert VOCABULARY.bytes_of[tokens[-1]] == b" " * (SPACES - 1)
    reaching, _ = spelled(b" " * (SPACES - 1))
    assert {VOCABULARY.bytes_of[t] for t in reaching} >= {b" " * (SPACES - 1), b" " * SPACES}


@given(texts.map(str.encode))
def test_every_token_that_may_come_spells_the_rest(rest: bytes) -> None:
    reaching, partial = spelled(rest)
    every = range(1, VOCABULARY.size)
    assert set(reaching) == {
        t for t in every if VOCABULARY.bytes_of[t] and VOCABULARY.bytes_of[t].startswith(rest)
    }
    assert set(partial) == {
        t
        for t in every
        if VOCABULARY.bytes_of[t] and rest.startswith(VOCABULARY.bytes_of[t]) and t not in reaching
    }
    assert reaching or partial


def test_spelling_bytes_at_the_end_of_the_order() -> None:
    reaching, partial = spelled(b"\xff")
    assert [VOCABULARY.bytes_of[t] for t in reaching] == [b"\xff"]
    assert partial == []


@given(
    texts.map(str.encode) | st.just(b""),
    st.lists(texts.map(str.encode) | st.just(b""), max_size=4).map(tuple),
)
def test_every_token_that_may_come_spells_a_word_or_what_ends_it(
    pending: bytes, rests: tuple[bytes, ...]
) -> None:
    ends = frozenset({0})
    spelling = VOCABULARY.spelling_of_words(pending, rests, ends)
    tokens = list(spelling.tokens)
    assert len(set(tokens)) == len(tokens)
    targets = [pending + rest for rest in rests]

    def may_come(raw: bytes) -> bool:
        return any(
            target.startswith(raw) or (raw.startswith(target) and raw[len(target)] not in WORD_BYTES)
            for target in targets
        )

    raws = {token: VOCABULARY.bytes_of[token] for token in range(1, VOCABULARY.size)}
    parts = {token for token, raw in raws.items() if raw and pending.startswith(raw) and raw != pending}
    assert set(tokens[spelling.reaching :]) == parts
    reaching = {token for token, raw in raws.items() if raw and may_come(raw)} - parts
    assert set(tokens[: spelling.reaching]) == reaching | (ends if b"" in targets else set())


def test_letters_digits_and_underscores_make_words() -> None:
    assert {chr(byte) for byte in WORD_BYTES if byte < 0x80} == {*"_", *string.ascii_letters, *string.digits}
    assert set(range(0x80, 0x100)) <= WORD_BYTES


def test_natural_language_checkpoints_use_plain_tokens() -> None:
    plain = Vocabulary(without_added(make_tokenizer().backend_tokenizer), 600, [0])
    assert len(plain.without_text) > len(VOCABULARY.without_text)
    indented = plain.encode("    x")
    assert b"".join(plain.bytes_of[t] for t in indented) == b"    x"
    assert max(indented) < 500
    assert plain.tokenizer.token_to_id("<|endoftext|>") == 0


@pytest.mark.parametrize("text", ["", "\u2581", "a\ufffd"])
def test_odd_texts_encode(text: str) -> None:
    assert VOCABULARY.encode(text)
