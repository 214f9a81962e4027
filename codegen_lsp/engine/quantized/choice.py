"""Choose the number format of a model's weights: what was asked for, or what is faster here and accurate enough."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import torch
from transformers import PretrainedConfig, PreTrainedModel

from codegen_lsp.engine.quantized import layers
from codegen_lsp.engine.quantized.formats import FORMATS, Format

LEAST = 5_000_000
"""Number of parameters below which `auto` leaves the weights as they are: a processor keeps them in its own cache."""

PROBE = (4096, 2048)
"""Dimensions of the matrix that `auto` measures with: too large for a core's own cache in every format."""

REPEATS = 9
"""Number of measurements, of which the fastest counts: other programs make any of them slower."""

TOLERANCE = 1e-3
"""Maximum relative error of a kernel against the same weights dequantized; float32 in another order makes 1e-6."""

MAX_ERROR = 0.03
"""Maximum mean error of a matrix, relative to its weights, that `auto` accepts in int8: without outliers it is 0.01."""


@dataclass(frozen=True, slots=True)
class FormatChoice:
    """A number format for weights, and why."""

    format: Format | None
    """None leaves the weights in the model's dtype."""
    reason: str


def choose(
    quantize: str,
    module: PreTrainedModel,
    dtype: torch.dtype,
    *,
    on_cpu: bool,
    gpu_room: int | None = None,
) -> FormatChoice:
    """Return the format for an empty model.

    Args:
        quantize: auto, none, int8 or int4.
        module: the model without weights.
        dtype: what its weights would be otherwise.
        on_cpu: whether the processor computes it.
        gpu_room: the bytes of weights that GPUs can hold, if that is known.
    """
    if quantize == "none":
        return FormatChoice(None, "not quantized, as configured")
    if is_quantized(module.config):
        return FormatChoice(None, "the checkpoint has a quantization of its own")
    if not layers.is_quantizable(module):
        return FormatChoice(None, "the model has no linear layers that could be quantized")
    for name in FORMATS:
        if quantize == name:
            return FormatChoice(name, "as configured")
    if not on_cpu:
        return gpu_choice(module, gpu_room)
    if module.num_parameters() < LEAST:
        return FormatChoice(None, "the model is small")
    return processor_choice(dtype)


def gpu_choice(module: PreTrainedModel, room: int | None) -> FormatChoice:
    """Return the dtype, or int8 if GPUs hold an empty model only then."""
    size = sum(weight.numel() * weight.dtype.itemsize for weight in module.parameters())
    linear = (part.weight for part in module.modules() if type(part) is torch.nn.Linear)
    smaller = size - sum(weight.numel() * (weight.dtype.itemsize - 1) for weight in linear)
    if room is not None and smaller <= room < size:
        return FormatChoice("int8", "more does not fit into the memory of the GPU")
    return FormatChoice(None, "a GPU computes in 16 bits")


@lru_cache(maxsize=8)
def processor_choice(dtype: torch.dtype) -> FormatChoice:
    """Return what this processor computes faster: int8, or the dtype. Takes some hundredths of a second, once."""
    from codegen_lsp.engine.quantized.writer import is_fast_processor

    if not is_fast_processor():
        return FormatChoice(None, "the processor has neither AVX2 nor NEON")
    torch_seconds, seconds, error = _measure(dtype)
    name = str(dtype).removeprefix("torch.")
    if error > TOLERANCE:
        return FormatChoice(None, f"int8 is not exact on this processor (relative error {error:.1g})")
    ratio = torch_seconds / seconds
    if ratio < 1:
        return FormatChoice(None, f"int8 is slower than {name} on this processor ({ratio:.1f} times as fast)")
    return FormatChoice("int8", f"{ratio:.1f} times as fast as {name} on this processor")


def is_quantized(config: PretrainedConfig) -> bool:
    """Return whether a checkpoint's own configuration quantizes it."""
    text = config.get_text_config()
    return any(getattr(part, "quantization_config", None) is not None for part in (config, text))


@torch.inference_mode()
def _measure(dtype: torch.dtype) -> tuple[float, float, float]:
    """Return the seconds of a product with one row in a dtype and in int8, and the relative error of the latter.

    In one thread: threads that wait for each other measure what else the machine does.
    """
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(PROBE, generator=generator)
    row = torch.randn(1, PROBE[1], generator=generator)
    layer = layers.QuantizedLinear.from_weight(weight, "int8")
    exact = row @ layer.dequantized().T
    error = float((layer(row) - exact).norm() / exact.norm())
    own, plain = row.to(dtype), weight.to(dtype)
    plain_times, int8_times = [], []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(REPEATS):
            started = time.perf_counter()
            torch.nn.functional.linear(own, plain)
            middle = time.perf_counter()
            layer(row)
            plain_times.append(middle - started)
            int8_times.append(time.perf_counter() - middle)
    finally:
        torch.set_num_threads(threads)
    return min(plain_times), min(int8_times), error
