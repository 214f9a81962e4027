"""The tokenizer: any text round-trips, and runs of white space are single tokens, as in CodeGen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from codegen_lsp.nano import MODEL_DIR
from codegen_lsp.nano.corpus.tokenizer import (
    END_OF_TEXT,
    PADDED_VOCABULARY,
    SENTINELS,
    SPACES,
    TABS,
    VOCABULARY,
    load_tokenizer,
    plain,
    with_sentinels,
)

shipped: Any = AutoTokenizer.from_pretrained(MODEL_DIR)
with_control_tokens = plain(with_sentinels(load_tokenizer(MODEL_DIR)))

texts = st.one_of(
    st.text(),
    st.text(alphabet=" \t\n\r\x00\x0b\x0c\u00a0\u2028_=(){}:'\"#é漢👩\u200d", max_size=80),
    st.lists(st.sampled_from([*SPACES, *TABS, "\r\n", "def ", "if", "x", "  #", "1234567", "'ll"])).map(
        "".join
    ),
)


@given(texts)
def test_any_text_round_trips(text: str) -> None:
    ids = shipped(text).input_ids
    assert shipped.decode(ids) == text
    assert all(0 <= token < VOCABULARY for token in ids)


@pytest.mark.parametrize("run", [*SPACES, *TABS])
def test_a_run_of_white_space_is_one_token(run: str) -> None:
    assert len(shipped(run).input_ids) == 1
    assert shipped.convert_ids_to_tokens(shipped(f"x{run}y").input_ids) == ["x", run, "y"]


def test_a_longer_run_is_several_tokens() -> None:
    assert [len(token) for token in shipped.convert_ids_to_tokens(shipped(" " * 40).input_ids)] == [31, 9]


def test_the_vocabulary_is_full_and_marks_are_set() -> None:
    assert len(shipped) == VOCABULARY + len(SENTINELS)
    assert shipped.convert_tokens_to_ids([*SENTINELS]) == [8192, 8193, 8194]
    assert shipped.eos_token == shipped.bos_token == shipped.pad_token == END_OF_TEXT
    assert shipped(END_OF_TEXT).input_ids == [shipped.eos_token_id]
    assert shipped.model_max_length == 2048


def test_encoding_adds_nothing_to_a_text() -> None:
    assert shipped("").input_ids == []
    assert set(shipped("x")) == {"input_ids", "attention_mask"}


def test_a_saved_tokenizer_loads(work: Path) -> None:
    loaded: Any = AutoTokenizer.from_pretrained(work / "tokenizer")
    assert len(loaded) == 1003
    text = "async def main() -> None:\n        await asyncio.sleep(0.25)\n"
    assert loaded.decode(loaded(text).input_ids) == text


def test_control_tokens_take_the_ids_after_all_others() -> None:
    before = load_tokenizer(MODEL_DIR)
    after = with_sentinels(before)
    old = {token: number for token, number in before.get_vocab().items() if token not in SENTINELS}
    assert len(old) == VOCABULARY
    assert {token: after.token_to_id(token) for token in old} == old
    assert [after.token_to_id(token) for token in SENTINELS] == [8192, 8193, 8194]
    assert with_sentinels(after).get_vocab() == after.get_vocab()
    assert after.get_vocab_size() <= PADDED_VOCABULARY


@given(
    st.lists(st.sampled_from([*SENTINELS, END_OF_TEXT, "x", " ", "  ", "\n", "<", "mask_1>"])).map("".join)
)
def test_the_name_of_a_control_token_in_a_text_is_text(text: str) -> None:
    tokenizer = with_control_tokens
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert not set(ids) & {tokenizer.token_to_id(token) for token in (*SENTINELS, END_OF_TEXT)}
