"""A quantized layer computes what a plain one with the same, dequantized weights computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from codegen_lsp.engine.quantized import formats
from codegen_lsp.engine.quantized.formats import FEW_ROWS, FORMATS, GROUP, MANY_ROWS, ROW_UNIT, Format
from codegen_lsp.engine.quantized.layers import QuantizedLinear, read_prompts_in

SIZES = ((1, 1), (3, 7), (5, 32), (66, 96), (130, 1000), (257, 64), (96, 320), (10, 2100), (4, 4200))
"""Outputs and inputs; also those that fill no tile of a kernel or of a matrix unit, and no group of weights."""


def layer_of(outputs: int, inputs: int, number_format: Format, *, bias: bool = True) -> QuantizedLinear:
    generator = torch.Generator().manual_seed(outputs * inputs)
    weight = torch.randn(outputs, inputs, generator=generator)
    return QuantizedLinear.from_weight(
        weight, number_format, torch.randn(outputs, generator=generator) if bias else None
    )


def plain(layer: QuantizedLinear, inputs: torch.Tensor) -> torch.Tensor:
    return nn.functional.linear(inputs, layer.dequantized(), layer.bias)


def is_close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Whether products are equal but for activations in 16 bits."""
    return ours.shape == theirs.shape and float((ours - theirs).norm()) <= 1e-4 * float(theirs.norm())


@pytest.mark.parametrize("number_format", FORMATS)
@pytest.mark.parametrize(("outputs", "inputs"), SIZES)
def test_any_number_of_rows_gives_the_products_with_dequantized_weights(
    number_format: Format, outputs: int, inputs: int
) -> None:
    for bias in (True, False):
        layer = layer_of(outputs, inputs, number_format, bias=bias)
        for rows in (*range(10), FEW_ROWS, FEW_ROWS + 1, 40, MANY_ROWS + 1):
            values = torch.randn(rows, inputs)
            assert is_close(layer(values), plain(layer, values))


@pytest.mark.parametrize("number_format", FORMATS)
def test_each_thread_computes_its_part(number_format: Format) -> None:
    threads = torch.get_num_threads()
    layer, values = layer_of(201, 320, number_format), torch.randn(3, 320)
    try:
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            assert is_close(layer(values), plain(layer, values))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("number_format", FORMATS)
def test_inputs_keep_their_shape_and_dtype(number_format: Format) -> None:
    layer = layer_of(48, 40, number_format)
    for rows in (2, 20):
        values = torch.randn(2, rows, 40).bfloat16()
        outputs = layer(values)
        assert outputs.shape == (2, rows, 48)
        assert outputs.dtype == torch.bfloat16
        assert torch.allclose(outputs.float(), plain(layer, values.float()), rtol=0.05, atol=0.3)


def test_inputs_that_are_views_are_read_as_what_they_are() -> None:
    layer = layer_of(16, 64, "int8")
    values = torch.randn(64, 3).T
    assert is_close(layer(values), plain(layer, values))


@pytest.mark.parametrize(("number_format", "error"), [("int8", 0.012), ("int4", 0.085)])
def test_weights_come_back_within_half_a_step(number_format: Format, error: float) -> None:
    weight = torch.randn(64, 512, generator=torch.Generator().manual_seed(1))
    again = formats.dequantized(*formats.quantized(weight, number_format))
    assert float((again - weight).norm() / weight.norm()) < error


@pytest.mark.parametrize("number_format", FORMATS)
def test_rows_of_zeros_stay_zeros(number_format: Format) -> None:
    weight = torch.zeros(3, 2 * GROUP)
    weight[1, GROUP:] = 1.0
    again = formats.dequantized(*formats.quantized(weight, number_format))
    assert torch.equal(again[0], weight[0])
    assert torch.allclose(again, weight, rtol=0.01)


def test_int4_takes_five_bits_for_a_weight() -> None:
    layer = layer_of(128, 256, "int4")
    assert layer.stored.nbytes + layer.scales.nbytes == 128 * 256 * 5 // 8


def test_int4_keeps_weights_that_are_steps_above_a_least_one() -> None:
    steps = torch.arange(2 * GROUP) % 16
    weight = torch.stack([steps * 0.25 + 3.0, steps * 0.5 - 100.0, -steps.float()])
    stored, scales = formats.quantized(weight, "int4")
    assert torch.allclose(formats.dequantized(stored, scales), weight, rtol=0.01)


def test_long_prompts_are_multiplied_in_the_dtype_that_the_processor_is_faster_with() -> None:
    layer = layer_of(48, 64, "int8")
    values = torch.randn(MANY_ROWS, 64)
    exact = layer(values)
    read_prompts_in(nn.Sequential(layer), torch.bfloat16)
    rounded = layer(values)
    assert rounded.dtype == torch.float32
    assert torch.allclose(rounded, exact, rtol=0.05, atol=0.3)
    assert not torch.equal(rounded, exact)
    assert torch.equal(layer(values[1:]), exact[1:])


def test_products_in_another_dtype_are_of_few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library behind torch compiles code for each of them, and keeps it."""
    layer = layer_of(48, 64, "int8")
    read_prompts_in(nn.Sequential(layer), torch.bfloat16)
    shapes: set[torch.Size] = set()
    multiply = torch.Tensor.__matmul__

    def counted(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        shapes.add(left.shape)
        return multiply(left, right)

    monkeypatch.setattr(torch.Tensor, "__matmul__", counted)
    for rows in range(MANY_ROWS, 2 * MANY_ROWS):
        assert len(layer(torch.randn(rows, 64))) == rows
    assert len(shapes) == -(-2 * MANY_ROWS // ROW_UNIT) - MANY_ROWS // ROW_UNIT


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_dequantized_in_one_call_are_the_rounded_ones(dtype: torch.dtype) -> None:
    stored, scales = formats.quantized(torch.randn(33, 70), "int8")
    at_once = formats.dequantized_at_once(stored, scales, dtype)
    assert at_once.dtype == dtype
    assert torch.equal(at_once, formats.dequantized(stored, scales).to(dtype))
