"""Fixtures for the tests of the bundled model: a tiny corpus, its tokens, a tiny recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from codegen_lsp.nano.corpus.corpus import build, documents
from codegen_lsp.nano.corpus.data import tokenize_corpus
from codegen_lsp.nano.corpus.sources import Distribution, standard_library
from codegen_lsp.nano.corpus.tokenizer import save_tokenizer, train_tokenizer, training_texts, with_sentinels
from codegen_lsp.nano.training.recipes import CPU, Recipe, Stage

EVENLY = {"core": 0.3, "focus": 0.4, "broad": 0.3}


@pytest.fixture(scope="session")
def small_distributions() -> list[Distribution]:
    """Make three distributions out of some hundred files of the standard library, one for each pool."""
    library = standard_library()
    chosen = [
        (name, path)
        for name, path in library.files
        if name.startswith(("asyncio/", "email/", "json/", "ctypes/"))
    ]
    again = tuple((f"renamed/{name}", path) for name, path in chosen if name.startswith("asyncio/"))
    others = [
        (name, path)
        for name, path in library.files
        if name.startswith(("http/", "logging/", "unittest/", "distutils/"))
    ]
    return [
        Distribution(library.name, library.version, library.licence, tuple(others)),
        Distribution("small-library", "1.0", "MIT", tuple(chosen)),
        Distribution("the-same-again", "1.0", "MIT", again),
    ]


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory, small_distributions: list[Distribution]) -> Path:
    """Make a work folder with a corpus, a tokenizer of 1,000 tokens and three control tokens, and the tokens."""
    folder = tmp_path_factory.mktemp("work")
    build(folder, small_distributions)
    trained = with_sentinels(train_tokenizer(training_texts(documents(folder)), 1000))
    save_tokenizer(trained, folder / "tokenizer")
    tokenize_corpus(folder, trained)
    return folder


@pytest.fixture
def tiny() -> Recipe:
    """Return the recipe `cpu`, so small that a step takes milliseconds, and not compiled."""
    return replace(
        CPU,
        n_embd=32,
        n_layer=2,
        rotary_dim=4,
        vocab_size=1008,
        compiled=False,
        stages=(Stage(0.5, 4, 64, EVENLY), Stage(1.0, 2, 128, EVENLY)),
    )
