from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from codegen_lsp.engine.decode import sampling

logits = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=30).map(torch.tensor)


@given(logits, st.floats(0.05, 0.999), st.floats(0.1, 2.0))
def test_the_nucleus_is_that_of_transformers(values: torch.Tensor, top_p: float, temperature: float) -> None:
    warped = TemperatureLogitsWarper(temperature)(None, values[None])
    expected = TopPLogitsWarper(top_p)(None, warped)[0].softmax(-1)
    probabilities = (values / temperature).softmax(-1)
    kept = sampling.nucleus(probabilities, top_p)
    sums = probabilities.sort(descending=True).values.cumsum(-1)
    distinct = len(set(probabilities.tolist())) == len(values)  # of equals, either may be kept
    if distinct and not any(abs(float(s) - top_p) < 1e-4 for s in sums):
        assert torch.allclose(kept / kept.sum(), expected, atol=1e-5)
    assert float(kept.sum()) >= min(top_p, 1.0) - 1e-4


def test_temperature_zero_takes_the_likeliest() -> None:
    assert sampling.draw(torch.tensor([0.1, 3.0, 2.9]), 0.0, 0.1, None) == 1


def test_draws_follow_the_distribution() -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.log(torch.tensor([0.5, 0.3, 0.2]))
    draws = [sampling.draw(values, 1.0, 1.0, generator) for _ in range(3000)]
    shares = [draws.count(i) / 3000 for i in range(3)]
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.04)


def test_what_is_banned_is_never_drawn() -> None:
    banned = torch.tensor([True, False, True, False])
    allowed = sampling.allowed_logits(torch.tensor([[9.0, 1.0, 9.0, 1.0]]), banned)
    generator = torch.Generator().manual_seed(0)
    assert {sampling.draw(allowed[0], 2.0, 1.0, generator) for _ in range(200)} == {1, 3}
    probabilities = sampling.log_probabilities(allowed)[0]
    assert float(probabilities[1]) == pytest.approx(math.log(0.5))
    assert sampling.top(probabilities, 4) == [
        (1, pytest.approx(math.log(0.5))),
        (3, pytest.approx(math.log(0.5))),
    ]


def test_a_tiny_temperature_does_not_overflow() -> None:
    values = torch.tensor([60_000.0, 59_999.0, -60_000.0])
    assert sampling.draw(values, 1e-4, 0.9, torch.Generator().manual_seed(0)) == 0
