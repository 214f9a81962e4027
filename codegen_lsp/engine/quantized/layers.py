"""Layers that hold quantized weights in place of torch's, for any model.

A linear layer has two ways to compute: a few rows go through a kernel that converts weights in registers; many rows
(a prompt) go through torch's own product, with a block of weights dequantized at a time. Processors have kernels for
both formats, GPUs for int8 (`gpu`); without one every product goes the second way.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import nn

from codegen_lsp.engine.quantized import formats
from codegen_lsp.engine.quantized.formats import FEW_ROWS, MANY_ROWS, ROW_UNIT, Format

BLOCK = 2**21
"""Number of weights that are dequantized at a time: they stay in the processor's cache."""

GPU_BLOCK = 2**26
"""The same on a GPU, where few calls count."""


class QuantizedLinear(nn.Module):
    """A linear layer with weights in int8 or int4."""

    stored: nn.Parameter
    scales: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, inputs: int, outputs: int, number_format: Format, bias: torch.Tensor | None) -> None:
        """Create a layer without values, on the meta device, for a matrix (outputs, inputs)."""
        super().__init__()
        self.in_features = inputs
        self.out_features = outputs
        self.format = number_format
        self.prompt_dtype: torch.dtype | None = None
        """What many rows are multiplied in by torch; None leaves all to the kernels."""
        stored, scales = formats.shapes(outputs, inputs, number_format)
        self.stored = _parameter(
            torch.empty(stored, dtype=formats.stored_dtype(number_format), device="meta")
        )
        self.scales = _parameter(torch.empty(scales, dtype=formats.scale_dtype(number_format), device="meta"))
        self.register_parameter("bias", None if bias is None else _parameter(bias))

    @classmethod
    def from_weight(
        cls, weight: torch.Tensor, number_format: Format, bias: torch.Tensor | None = None
    ) -> QuantizedLinear:
        """Return the layer that computes with a matrix (outputs, inputs), rounded."""
        layer = cls(weight.shape[1], weight.shape[0], number_format, bias)
        stored, scales = formats.quantized(weight, number_format)
        layer.stored, layer.scales = _parameter(stored), _parameter(scales)
        return layer

    def dequantized(self) -> torch.Tensor:
        """Return the float32 matrix (outputs, inputs) that the layer computes with."""
        return formats.dequantized(self.stored, self.scales)[:, : self.in_features]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the products (..., outputs) of inputs (..., inputs) with the weights, in the dtype of the inputs."""
        rows = inputs.reshape(-1, self.in_features)
        if inputs.device.type == "cpu" and self.uses_kernels(len(rows)):
            outputs = self.multiplied(rows.float()).to(inputs.dtype)
        else:
            few = self._few_on_gpu(rows) if inputs.device.type == "cuda" and len(rows) <= FEW_ROWS else None
            outputs = self.many(rows) if few is None else few
        return outputs.view(*inputs.shape[:-1], self.out_features)

    def uses_kernels(self, rows: int) -> bool:
        """Return whether kernels multiply a number of rows on the processor."""
        return self.prompt_dtype is None or rows < MANY_ROWS

    def _few_on_gpu(self, inputs: torch.Tensor) -> torch.Tensor | None:
        """Multiply a few rows with a kernel for GPUs, if there is one. Its compiler is loaded here, and only here."""
        from codegen_lsp.engine.quantized.gpu import products

        return products.multiply(self, inputs) if self.format == "int8" and products.are_ready() else None

    def multiplied(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply any number of rows of float32 with the kernels. Their library is loaded here, and only here."""
        from codegen_lsp.engine.quantized import products

        return products.multiply(self, inputs.contiguous())

    def many(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply any number of rows with torch's product."""
        count, step = len(inputs), max(64, (GPU_BLOCK if inputs.is_cuda else BLOCK) // self.in_features)
        values = inputs.to(self.prompt_dtype or inputs.dtype)
        if not inputs.is_cuda:
            values = nn.functional.pad(values, (0, 0, 0, -count % ROW_UNIT))
        parts = [
            values @ self._block(start, start + step, values.dtype).T
            for start in range(0, self.out_features, step)
        ]
        outputs = (torch.cat(parts, -1) if len(parts) > 1 else parts[0])[:count].to(inputs.dtype)
        return outputs if self.bias is None else outputs.add_(self.bias)

    def _block(self, start: int, stop: int, dtype: torch.dtype) -> torch.Tensor:
        """Return the weights of some outputs."""
        stored, scales = self.stored[start:stop], self.scales[start:stop]
        if stored.is_cuda and self.format == "int8":
            rows = formats.dequantized_at_once(stored, scales, dtype)
        else:
            rows = formats.dequantized(stored, scales).to(dtype)
        return rows[:, : self.in_features]

    def float_bias(self) -> torch.Tensor:
        """Return the biases in float32, zeros if there are none."""
        if self.bias is None:
            return _zeros(self.out_features)
        return self.bias if self.bias.dtype == torch.float32 else self.bias.float()

    def extra_repr(self) -> str:
        """Return the dimensions for torch's printed form of a model."""
        return f"{self.in_features}, {self.out_features}, {self.format}, bias={self.bias is not None}"


class StoredEmbedding(nn.Embedding):
    """An embedding table that stays in the 16 bits of its checkpoint; what is looked up gets the model's dtype."""

    def __init__(self, table: nn.Embedding) -> None:
        """Take the place of a table."""
        super().__init__(table.num_embeddings, table.embedding_dim, table.padding_idx, device="meta")
        self.result_dtype = table.weight.dtype
        self.weight = _parameter(torch.empty(table.weight.shape, dtype=torch.bfloat16, device="meta"))

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        """Return the rows of the table (..., width) for token ids (...)."""
        return super().forward(input).to(self.result_dtype)


def replace_layers(module: nn.Module, number_format: Format, *, halves: bool) -> None:
    """Put quantized layers without values in place of a model's linear layers, before its weights are read.

    The head becomes int8 in both formats: it decides between words that are close. A head that shares its weights with
    the embedding table is left for `quantize_head`. With `halves` the checkpoint has numbers of 16 bits, and the
    embedding table keeps them.
    """
    head = _head(module)
    shared = head is not None and _has_shared_head(module)
    for parent, name, layer in list(_children(module)):
        if type(layer) is nn.Embedding and halves and not shared:
            setattr(parent, name, StoredEmbedding(layer))
        elif type(layer) is nn.Linear and not (layer is head and shared):
            layer_format: Format = "int8" if layer is head else number_format
            setattr(
                parent,
                name,
                QuantizedLinear(layer.in_features, layer.out_features, layer_format, layer.bias),
            )


def reserve_shared_head(module: nn.Module, *, halves: bool) -> None:
    """Replace the shared head of a model without weights, and the table, as `quantize_head` does with weights."""
    head = _head(module)
    if head is not None and type(head) is nn.Linear:
        layer = QuantizedLinear(head.in_features, head.out_features, "int8", head.bias)
        module.set_output_embeddings(layer)  # type: ignore[operator]
        if (table := _wide_table(module)) is not None and halves:
            module.set_input_embeddings(StoredEmbedding(table))  # type: ignore[operator]


def read_prompts_in(module: nn.Module, dtype: torch.dtype) -> None:
    """Let a model's quantized layers multiply many rows in a dtype, whatever the dtype of their inputs is.

    The kernels are faster than products in float32.
    """
    for layer in module.modules():
        if isinstance(layer, QuantizedLinear):
            layer.prompt_dtype = None if dtype == torch.float32 else dtype


def quantize_head(module: nn.Module, *, halves: bool) -> None:
    """Give a head in the model's dtype an int8 copy of its weights, also if it shares them with the embedding table.

    With `halves` the table then keeps the 16 bits of its checkpoint, as one that is not shared does from the start.
    """
    head = _head(module)
    if head is not None and type(head) is nn.Linear:
        module.set_output_embeddings(QuantizedLinear.from_weight(head.weight, "int8", head.bias))  # type: ignore[operator]
        if (table := _wide_table(module)) is not None and halves:
            stored = StoredEmbedding(table)
            stored.weight = _parameter(formats.halved(table.weight))
            module.set_input_embeddings(stored)  # type: ignore[operator]


def is_quantizable(module: nn.Module) -> bool:
    """Return whether a model has linear layers."""
    return any(type(layer) is nn.Linear for layer in module.modules())


def _children(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for parent in module.modules():
        for name, child in parent.named_children():
            yield parent, name, child


def _wide_table(module: nn.Module) -> nn.Embedding | None:
    """Return the embedding table if it holds 32 bits a number and stays in memory."""
    table: nn.Module = module.get_input_embeddings()  # type: ignore[operator]
    is_wide = type(table) is nn.Embedding and table.weight.dtype == torch.float32
    return table if is_wide and not hasattr(table, "_hf_hook") else None  # type: ignore[return-value]


def _head(module: nn.Module) -> nn.Module | None:
    head: nn.Module | None = module.get_output_embeddings()  # type: ignore[operator]
    return head


def _has_shared_head(module: nn.Module) -> bool:
    config: Any = module.config
    tied: bool = config.get_text_config().tie_word_embeddings
    return tied


def _parameter(tensor: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)


@cache
def _zeros(count: int) -> torch.Tensor:
    """Return `count` zeros, always the same ones."""
    return torch.zeros(count)
