from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from codegen_lsp.engine.decode import sampling
from codegen_lsp.engine.decode.sampling import TokenDistribution

logits = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=30).map(torch.tensor)


@given(logits, st.floats(0.05, 0.999), st.floats(0.1, 2.0))
def test_the_nucleus_is_that_of_transformers(values: torch.Tensor, top_p: float, temperature: float) -> None:
    warped = TemperatureLogitsWarper(temperature)(None, values[None])
    expected = TopPLogitsWarper(top_p)(None, warped)[0].softmax(-1)
    probabilities = (values / temperature).softmax(-1)
    tokens, inside = sampling.nucleus(probabilities, top_p)
    kept = torch.zeros_like(probabilities).index_put((tokens,), inside)
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
    allowed = torch.tensor([-torch.inf, 1.0, -torch.inf, 1.0])
    generator = torch.Generator().manual_seed(0)
    assert {sampling.draw(allowed, 2.0, 1.0, generator) for _ in range(200)} == {1, 3}
    distribution = TokenDistribution(allowed, 1, 1.0, float(allowed.logsumexp(0)))
    assert distribution.log_probability(1) == pytest.approx(math.log(0.5))
    assert distribution.top(4) == [
        (1, pytest.approx(math.log(0.5))),
        (3, pytest.approx(math.log(0.5))),
    ]


def test_a_tiny_temperature_does_not_overflow() -> None:
    values = torch.tensor([60_000.0, 59_999.0, -60_000.0])
    assert sampling.draw(values, 1e-4, 0.9, torch.Generator().manual_seed(0)) == 0


def plain_nucleus(probabilities: torch.Tensor, top_p: float) -> dict[int, float]:
    """The definition: sort everything, and take tokens until they reach `top_p`."""
    kept: dict[int, float] = {}
    for value, token in sorted(((float(p), -i) for i, p in enumerate(probabilities)), reverse=True):
        if kept and sum(kept.values()) >= top_p:
            break
        kept[-token] = value
    return kept


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 0.999])
def test_the_nucleus_of_a_large_vocabulary_is_the_plain_one(temperature: float, top_p: float) -> None:
    """Also where it has more tokens than are searched first."""
    generator = torch.Generator().manual_seed(3)
    probabilities = (torch.randn(3000, generator=generator).double() * 2 / temperature).softmax(-1)
    tokens, values = sampling.nucleus(probabilities, top_p)
    assert dict(zip(tokens.tolist(), values.tolist(), strict=True)) == plain_nucleus(probabilities, top_p)


@pytest.mark.parametrize("top_p", [0.7, 1.0])
def test_draws_from_a_nucleus_follow_its_distribution(top_p: float) -> None:
    """Pearson's chi-squared test with fixed draws: 0.1 % of fair samples would exceed the bound."""
    generator = torch.Generator().manual_seed(5)
    values = torch.tensor([1.0, 0.5, 0.0, -0.5, -1.0, -torch.inf, 0.8])
    kept = plain_nucleus((values / 0.7).softmax(-1), top_p)
    kept = {token: value for token, value in kept.items() if value}
    count = 4000
    draws = [sampling.draw(values, 0.7, top_p, generator) for _ in range(count)]
    assert set(draws) <= kept.keys()
    total = sum(kept.values())
    expected = {token: count * value / total for token, value in kept.items()}
    chi_squared = sum((draws.count(token) - number) ** 2 / number for token, number in expected.items())
    assert chi_squared < {3: 13.8, 4: 16.3, 6: 20.5}[len(kept)]
