"""Kernels between matrix products compute what torch does."""

from __future__ import annotations

import ctypes

import pytest
import torch
from torch.nn.functional import gelu

from codegen_lsp.engine.quantized import team
from codegen_lsp.engine.quantized.elementwise import gelu_in_place, lookup
from codegen_lsp.engine.quantized.program import arguments


@pytest.mark.parametrize("count", [1, 7, 64, 1027])
def test_activations_take_the_place_of_their_inputs(count: int) -> None:
    torch.manual_seed(count)
    inputs = torch.randn(3, count) * 8
    inputs[0, 0], inputs[1, 0] = -300.0, 300.0
    values = inputs.clone()
    assert gelu_in_place(values) is values
    torch.testing.assert_close(values, gelu(inputs, approximate="tanh"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_what_the_kernel_cant_read_stays_as_it_is(dtype: torch.dtype) -> None:
    inputs = torch.randn(8, 5).to(dtype).T
    before = inputs.clone()
    torch.testing.assert_close(gelu_in_place(inputs), gelu(before, approximate="tanh"))
    assert torch.equal(inputs, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_lines_of_a_table_are_looked_up_as_floats(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    table = torch.randn(9, 48).to(dtype)
    ids, targets = torch.tensor([3, 8, 0, 3, 9, -1]), torch.zeros(6, 48)
    places = (each.data_ptr() for each in (ids, targets))
    argument = arguments(6, 48, table.data_ptr(), 9, *places)
    team.run(lookup(dtype), ctypes.addressof(argument), 2)
    assert torch.equal(targets[:4], table[ids[:4]].float())
    assert torch.isnan(targets[4:]).all()
