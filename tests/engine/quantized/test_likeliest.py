"""The kernel that chooses the likeliest tokens computes what torch does."""

from __future__ import annotations

import math

import pytest
import torch

from codegen_lsp.engine.quantized.likeliest import likeliest


@pytest.mark.parametrize(("rows", "columns"), [(1, 5), (3, 600), (2, 8203), (4, 50257)])
def test_tokens_logits_and_totals(rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(columns)
    logits = 5 * torch.randn(rows, columns, generator=generator)
    banned = torch.rand(columns, generator=generator) < 0.2
    allowed = logits.masked_fill(banned, -math.inf)
    tokens, highest, totals = likeliest(logits, banned)
    assert torch.equal(logits, allowed)
    assert tokens == allowed.argmax(-1).tolist()
    assert highest == allowed.amax(-1).tolist()
    assert totals == pytest.approx(allowed.double().logsumexp(-1).tolist(), rel=2e-6)


def test_rows_of_a_wider_table() -> None:
    table = torch.randn(3, 100, generator=torch.Generator().manual_seed(1))
    expected = table[:, :60].argmax(-1).tolist()
    assert likeliest(table[:, :60], torch.zeros(60, dtype=torch.bool))[0] == expected


def test_of_equal_tokens_the_first_one() -> None:
    logits = torch.zeros(1, 70)
    logits[0, [33, 34, 69]] = 2.0
    assert likeliest(logits, torch.zeros(70, dtype=torch.bool))[0] == [33]


@pytest.mark.parametrize("place", [0, 40, 66])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_seen(value: float, place: int) -> None:
    logits, banned = torch.randn(2, 67), torch.zeros(67, dtype=torch.bool)
    logits[0, place] = value
    _, highest, _ = likeliest(logits, banned)
    assert not math.isfinite(highest[0])
    assert math.isfinite(highest[1])


def test_without_an_allowed_token_nothing_is_finite() -> None:
    _, highest, _ = likeliest(torch.randn(1, 20), torch.ones(20, dtype=torch.bool))
    assert not math.isfinite(highest[0])
