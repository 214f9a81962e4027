"""Rows that share their prompt's keys and values compute what rows with copies of their own compute."""

from __future__ import annotations

import pytest
import torch

from codegen_lsp.engine.model.kv import KVCache
from codegen_lsp.engine.model.kv_forked import ForkedCache
from codegen_lsp.engine.model.kv_layout import GROWTH
from codegen_lsp.engine.model.model import Model

ROWS = 4


def prefilled(model: Model) -> KVCache:
    kv = model.new_cache(40)
    assert isinstance(kv, KVCache)
    model.forward(torch.arange(1, 38)[None], kv)
    return kv


@pytest.mark.parametrize("steps", [3, GROWTH + 5])
def test_forked_rows_compute_what_copied_rows_do(tiny: Model, steps: int) -> None:
    copied = prefilled(tiny).repeat(ROWS, 2)
    forked = tiny.part(prefilled(tiny), ROWS, 2)
    assert isinstance(forked, ForkedCache)
    torch.manual_seed(0)
    rows = ROWS
    for step in range(steps):
        if step == steps // 2:
            copied.keep([1, 3])
            forked.keep([1, 3])
            rows = 2
        tokens = torch.randint(1, 500, (rows, 1))
        ours, theirs = tiny.forward(tokens, forked), tiny.forward(tokens, copied)
        assert torch.allclose(ours, theirs, atol=1e-3)
        assert forked.length == forked.get_seq_length() == copied.length


def test_what_is_cut_out_of_a_forked_cache_is_its_first_rows(tiny: Model) -> None:
    prompt = prefilled(tiny)
    forked = tiny.part(prompt, ROWS, 8)
    for token in (5, 6, 7):
        tiny.forward(torch.full((ROWS, 1), token), forked)
    alone = prefilled(tiny)
    for token in (5, 6, 7):
        tiny.forward(torch.tensor([[token]]), alone)
    for start, stop in ((0, 40), (10, 38), (37, 39), (39, 40), (5, 12)):
        for a, b in zip(forked.copy(start, stop), alone.copy(start, stop), strict=True):
            assert torch.allclose(a, b, atol=1e-4)
    assert prompt.length == 37, "the prompt's own cache is untouched"


def test_a_prompt_is_not_copied_for_its_rows(tiny: Model) -> None:
    prompt = prefilled(tiny)
    forked = tiny.part(prompt, ROWS, 8)
    shared, _ = forked.layers[0].shared  # type: ignore[union-attr]
    assert shared.data_ptr() == prompt.layers[0].keys.data_ptr()


def test_the_next_candidates_use_the_memory_of_the_last_ones(tiny: Model) -> None:
    prompt = prefilled(tiny)
    first = prompt.fork(ROWS, 8)
    second = prompt.fork(ROWS, 8)
    places = [kv.layers[0].keys.data_ptr() for kv in (first, second)]
    assert places[0] != places[1], "both are in use"
    before = prompt.nbytes
    del first, second
    third = prompt.fork(ROWS - 1, 5)
    assert third.layers[0].keys.data_ptr() == places[0]
    assert prompt.nbytes == before
