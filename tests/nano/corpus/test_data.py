"""Rows of tokens: every token once in an epoch, pools in their shares, the same order again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from codegen_lsp.nano.corpus.corpus import CorpusDocument, CorpusError, documents
from codegen_lsp.nano.corpus.data import BLOCK, POOLS, Sampler, Stream, tokenize_corpus
from codegen_lsp.nano.corpus.tokenizer import END_OF_TEXT, load_tokenizer

TOKENS = np.arange(20 * BLOCK + 1, dtype=np.uint16)


@pytest.mark.parametrize("length", [256, 2048])
def test_an_epoch_holds_every_token_once(length: int) -> None:
    stream = Stream(TOKENS, (0,))
    rows = [stream.take(length) for _ in range(20 * BLOCK // length)]
    assert sorted(token for row in rows for token in row[:-1]) == list(range(20 * BLOCK))
    assert all(np.array_equal(np.diff(row), np.ones(length)) for row in rows)


def test_epochs_differ_in_order_and_seeds_too() -> None:
    stream, other = Stream(TOKENS, (0,)), Stream(TOKENS, (1,))
    first = [int(stream.take(BLOCK)[0]) for _ in range(20)]
    second = [int(stream.take(BLOCK)[0]) for _ in range(20)]
    assert sorted(first) == sorted(second)
    assert first != second
    assert first != [int(other.take(BLOCK)[0]) for _ in range(20)]


def test_rows_can_grow_on_the_way() -> None:
    stream = Stream(TOKENS, (0,))
    for length in (256, 256, 512, 512, 2048):
        assert len(stream.take(length)) == length + 1


def test_a_pool_that_is_too_small_says_so() -> None:
    with pytest.raises(CorpusError, match="build a larger corpus"):
        Stream(TOKENS[:BLOCK], (0,)).take(256)


def test_the_tokens_are_those_of_the_documents(work: Path) -> None:
    tokenizer = load_tokenizer(work / "tokenizer")
    end = tokenizer.token_to_id(END_OF_TEXT)
    for pool in POOLS:
        tokens = np.load(work / f"tokens-{pool}.npy")
        starts = np.flatnonzero(tokens == end)
        pieces = [tokenizer.decode(part[1:].tolist()) for part in np.split(tokens, starts[1:])]
        assert Counter(pieces) == Counter(item.text for item in documents(work) if item.pool == pool)


def test_the_name_of_a_special_token_in_a_document_is_text(tmp_path: Path, work: Path) -> None:
    tokenizer = load_tokenizer(work / "tokenizer")
    text = 'END = "<|endoftext|><mask_1>"\n'
    line = json.dumps(asdict(CorpusDocument("one", "one.py", "core", text, "")))
    (tmp_path / "corpus.jsonl").write_text(f"{line}\n", encoding="utf-8")
    tokenize_corpus(tmp_path, tokenizer)
    tokens = np.load(tmp_path / "tokens-core.npy").tolist()
    assert tokens.count(tokenizer.token_to_id(END_OF_TEXT)) == 1
    assert tokenizer.token_to_id("<mask_1>") not in tokens
    assert tokenizer.decode(tokens[1:], skip_special_tokens=False) == text


def test_pools_get_their_shares(work: Path) -> None:
    sampler = Sampler(work, seed=0)
    for _ in range(50):
        assert sampler.batch(4, 64, {"core": 0.25, "focus": 0.75}).shape == (4, 65)
    read = {pool: stream.position // 64 for pool, stream in sampler.streams.items()}
    assert read == {"core": 50, "focus": 150, "broad": 0}


def test_a_share_of_the_rows_is_filled_and_the_others_stay(work: Path) -> None:
    shares = {"core": 0.3, "focus": 0.3, "broad": 0.4}
    mask = load_tokenizer(work / "tokenizer").token_to_id("<mask_1>")
    texts = Sampler(work, seed=0).batch(200, 256, shares)
    rows = Sampler(work, seed=0, fill=0.5).batch(200, 256, shares)
    filled = (rows == mask).any(axis=1)
    assert rows.shape == texts.shape
    assert np.array_equal(rows[~filled], texts[~filled])
    assert 70 < filled.sum() < 130


@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_a_restored_sampler_goes_on_where_it_was(work: Path, fill: float) -> None:
    shares = {"core": 0.3, "focus": 0.3, "broad": 0.4}
    first = Sampler(work, seed=0, fill=fill)
    for _ in range(7):
        first.batch(3, 64, shares)
    second = Sampler(work, seed=0, fill=fill)
    second.restore(first.state())
    for _ in range(5):
        assert np.array_equal(first.batch(3, 128, shares), second.batch(3, 128, shares))
