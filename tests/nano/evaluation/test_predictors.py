"""Predictors: token healing, confidence and the end of the line of completions, and probabilities of texts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from codegen_lsp.nano import MODEL_DIR
from codegen_lsp.nano.corpus.tokenizer import load_tokenizer
from codegen_lsp.nano.evaluation.ngram import NGramModel
from codegen_lsp.nano.evaluation.predictors import (
    BufferWords,
    LanguageModel,
    NGramPredictor,
    TokenPredictor,
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(MODEL_DIR)


@pytest.fixture(scope="module")
def nano() -> LanguageModel:
    return LanguageModel("nano", MODEL_DIR)


class Parrot(TokenPredictor):
    """A model that is certain about the next token of a given text; every prefix must be a prefix of that text."""

    def __init__(self, tokenizer: Tokenizer, text: str) -> None:
        super().__init__("parrot", tokenizer, tokenizer.get_vocab_size())
        self.all = self.encode(text)
        self.position = 0

    def begin(self, ids: list[int]) -> NDArray[np.float64]:
        assert ids == self.all[: len(ids)]
        self.position = len(ids)
        return self.scores()

    def extend(self, token: int) -> NDArray[np.float64]:
        assert token == self.all[self.position]
        self.position += 1
        return self.scores()

    def scores(self) -> NDArray[np.float64]:
        logits = np.zeros(self.vocabulary_size)
        logits[self.all[self.position]] = 20.0
        result: NDArray[np.float64] = logits - np.logaddexp.reduce(logits)
        return result

    @property
    def vocabulary_size(self) -> int:
        return len(self.vocabulary.texts)


@pytest.mark.parametrize("cut", range(1, 34))
def test_a_line_cut_anywhere_is_completed_by_a_model_that_knows_it(tokenizer: Tokenizer, cut: int) -> None:
    line = "    print(self.documentation, 'é漢')"
    text = f"class A:\n    def method(self):\n    {line}\n        return None\n"
    start = text.index(line)
    parrot = Parrot(tokenizer, text)
    suggestion = parrot.complete(text[: start + cut])
    assert suggestion is not None
    assert suggestion.text == line[cut:]
    assert suggestion.confidence > -0.01


def test_the_buffers_nearest_word_is_offered() -> None:
    words = BufferWords()
    text = "password = 1\npassenger = 2\nx = pass"
    offered = words.complete(text)
    assert offered is not None
    assert offered.text == "enger"
    assert math.isnan(offered.confidence)
    assert words.complete("alpha = 1\nzeta") is None
    assert words.complete("alpha = ") is None
    assert words.complete("") is None
    assert words.nats("anything") is None


def test_a_language_model_scores_long_texts_in_windows(nano: LanguageModel) -> None:
    text = "".join(f"def function_{number}(argument):\n    return {number}\n\n\n" for number in range(200))
    ids = torch.tensor([8153, *nano.encode(text)])
    assert 2048 < len(ids) < 3072
    with torch.inference_mode():
        first, second = nano.model(ids[None, :2048]).logits[0], nano.model(ids[None, 1024:]).logits[0]
    expected = torch.nn.functional.cross_entropy(first[:-1], ids[1:2048], reduction="sum")
    expected += torch.nn.functional.cross_entropy(second[1023:-1], ids[2048:], reduction="sum")
    assert nano.nats(text) == pytest.approx(float(expected), rel=1e-5)
    assert nano.nats("") == 0.0


@pytest.mark.parametrize(
    "prefix", ["", "\n", "x", "    ", "def f(", "é", "#" * 5000, "x = 1\n" * 3000 + "y = "]
)
def test_any_prefix_is_answered_in_one_line(nano: LanguageModel, prefix: str) -> None:
    suggestion = nano.complete(prefix)
    if suggestion is not None:
        assert suggestion.text
        assert "\n" not in suggestion.text
        assert suggestion.confidence <= 0


def test_the_confidence_is_the_mean_log_probability_of_the_suggestion(nano: LanguageModel) -> None:
    prefix = "import os\nimport sys\n\n\ndef main() -> None:\n    value ="
    suggestion = nano.complete(prefix)
    assert suggestion is not None
    scores = nano.begin(nano.encode(prefix)[: -nano.vocabulary.ragged(nano.encode(prefix))])
    assert scores.shape == (8200,)
    assert np.exp(scores).sum() == pytest.approx(1.0)
    assert suggestion.confidence < 0


def test_the_ngram_model_learns_the_file(tokenizer: Tokenizer) -> None:
    repeated = "settings.register_handler(name='alpha', callback=on_alpha)\n"
    base = "import os\n\ndef main():\n    return os.getcwd()\n" * 3
    model = NGramModel.fit(np.array(tokenizer.encode(base).ids, dtype=np.uint16), tokenizer.get_vocab_size())
    predictor = NGramPredictor(model, tokenizer)
    suggestion = predictor.complete(base + repeated * 3 + "settings.reg")
    assert suggestion is not None
    assert suggestion.text == repeated[len("settings.reg") :].strip()
    once, twice = predictor.nats(repeated), predictor.nats(repeated * 2)
    assert twice < 1.3 * once


def test_the_ngram_model_is_counted_once(work: Path) -> None:
    first = NGramPredictor.fitted(work)
    stamp = (work / "ngram" / "keys-1.npy").stat().st_mtime_ns
    second = NGramPredictor.fitted(work)
    assert (work / "ngram" / "keys-1.npy").stat().st_mtime_ns == stamp
    text = "import logging\n\nlogger = logging.getLogger(__name__)\n"
    assert first.nats(text) == pytest.approx(second.nats(text))
