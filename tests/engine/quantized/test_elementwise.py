"""Kernels between matrix products compute what torch does."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import gelu

from codegen_lsp.engine.quantized.elementwise import gelu_in_place


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
