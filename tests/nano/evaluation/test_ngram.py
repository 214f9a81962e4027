"""The n-gram baseline: probabilities that are probabilities, and that the counts explain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codegen_lsp.nano.evaluation.ngram import DISCOUNT, FileCache, NGramModel, mixed

VOCABULARY = 100
STREAM = np.random.default_rng(0).zipf(1.5, 20_000).clip(1, 60).astype(np.uint16)


@pytest.fixture(scope="module")
def model() -> NGramModel:
    return NGramModel.fit(STREAM, VOCABULARY)


@pytest.mark.parametrize(
    "context", [[], [1], [1, 1, 1, 1], [99], [1, 99, 2], STREAM[500:510].tolist(), [60, 60, 60]]
)
def test_probabilities_sum_to_one(model: NGramModel, context: list[int]) -> None:
    below = model.distribution(context)
    assert below.shape == (VOCABULARY,)
    assert below.min() > 0
    assert below.sum() == pytest.approx(1.0)
    cache = FileCache()
    for token in [3, 4, 5, 3, 4, 6, *context]:
        cache.add(token)
    cached = cache.distribution(cache.tokens, below)
    assert cached.sum() == pytest.approx(1.0)
    assert mixed(below, cached).sum() == pytest.approx(1.0)


def test_a_text_has_the_probabilities_of_its_tokens(model: NGramModel) -> None:
    text = np.concatenate([STREAM[100:150], [99, 98, 99], STREAM[7:20]]).astype(np.int64)
    expected = [model.distribution(text[:place].tolist())[token] for place, token in enumerate(text)]
    np.testing.assert_allclose(model.probabilities(text), expected)


def test_one_context_by_hand() -> None:
    model = NGramModel.fit(np.array([5, 6, 5, 6, 5, 7], dtype=np.uint16), 8, order=2)
    unigram = DISCOUNT * 3 / 6 / 8 + (np.array([0, 0, 0, 0, 0, 3, 2, 1]) - DISCOUNT * (np.arange(8) > 4)) / 6
    np.testing.assert_allclose(model.distribution([]), unigram)
    bigram = DISCOUNT * 2 / 3 * unigram
    bigram[6] += (2 - DISCOUNT) / 3
    bigram[7] += (1 - DISCOUNT) / 3
    np.testing.assert_allclose(model.distribution([5]), bigram)
    np.testing.assert_allclose(model.distribution([7]), unigram)


def test_the_cache_prefers_what_the_file_said(model: NGramModel) -> None:
    cache = FileCache()
    for token in [41, 42, 43, 9, 41, 42]:
        cache.add(token)
    below = model.distribution(cache.tokens)
    after = cache.distribution(cache.tokens, below)
    assert after.argmax() == 43
    assert after[43] > 5 * below[43]
    assert cache.probability(43, float(below[43])) == pytest.approx(after[43])


def test_a_cache_can_go_back() -> None:
    grown, direct = FileCache(), FileCache()
    grown.become([1, 2, 3, 1, 2, 3, 4, 5])
    grown.become([1, 2, 3, 1, 2, 7])
    direct.become([1, 2, 3, 1, 2, 7])
    uniform = np.full(10, 0.1)
    assert grown.tokens == direct.tokens
    for context in ([], [1], [1, 2], [4], [2, 3, 1]):
        np.testing.assert_array_equal(
            grown.distribution(context, uniform), direct.distribution(context, uniform)
        )
    grown.become([9])
    assert grown.tokens == [9]


def test_a_saved_model_is_the_same(model: NGramModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = NGramModel.load(tmp_path, VOCABULARY)
    text = STREAM[:300].astype(np.int64)
    np.testing.assert_array_equal(loaded.probabilities(text), model.probabilities(text))
