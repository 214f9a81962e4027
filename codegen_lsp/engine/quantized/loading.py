"""Quantize a checkpoint while transformers reads it: one matrix at a time, so that only one is held unquantized.

Knows transformers' interface for quantizers: layers are replaced before weights are read, and each weight goes through
an operation on its way into its layer.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from codegen_lsp.engine.quantized import formats, layers
from codegen_lsp.engine.quantized.formats import Format

METHOD = "codegen-lsp"


@register_quantization_config(METHOD)
class WeightConfig(QuantizationConfigMixin):
    """The argument for transformers' `from_pretrained` that quantizes weights as they are read."""

    def __init__(self, number_format: Format, *, halves: bool) -> None:
        """Quantize to a format; `halves` says whether the checkpoint has numbers of 16 bits."""
        self.quant_method: Any = METHOD
        self.number_format = number_format
        self.halves = halves
        self.errors: list[float] = []
        """Mean error of each matrix that was read, relative to its weights."""


@register_quantizer(METHOD)
class WeightQuantizer(HfQuantizer):
    """Replaces a model's layers and quantizes their weights."""

    quantization_config: Any

    @property
    def is_trainable(self) -> bool:
        """Return false: the weights have no gradients."""
        return False

    def is_serializable(self) -> bool:
        """Return false: only checkpoints as they were published are kept."""
        return False

    def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **options: object) -> bool:  # noqa: ARG002
        """Return whether a weight belongs to a layer that was replaced."""
        path, _, name = param_name.rpartition(".")
        replaced = isinstance(model.get_submodule(path), layers.QuantizedLinear | layers.StoredEmbedding)
        return name == "weight" and replaced

    def get_quantize_ops(self) -> ConversionOps:
        """Return the operation that quantizes one weight."""
        return _Quantize(self.quantization_config)

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **_: object) -> PreTrainedModel:
        config = self.quantization_config
        layers.replace_layers(model, config.number_format, halves=config.halves)
        for layer in model.modules():
            if isinstance(layer, layers.QuantizedLinear):
                # What is read under this name is stored under others, so that layers on disk are written anew.
                empty = torch.empty(layer.out_features, layer.in_features, device="meta")
                layer.register_parameter("weight", torch.nn.Parameter(empty, requires_grad=False))
        return model


class _Quantize(ConversionOps):
    """Turns a weight into what its layer stores."""

    def __init__(self, weight_config: WeightConfig) -> None:
        self.weight_config = weight_config

    def convert(self, input_dict: dict[str, Any], *_: Any, **options: Any) -> dict[str, Any]:
        """Return the stored tensors by the names of their parameters.

        Raises:
            ValueError: the weight has other dimensions than the layer.
        """
        value = next(iter(input_dict.values()))
        weight: torch.Tensor = value[0] if isinstance(value, list) else value
        name: str = options["full_layer_name"]
        path = name.rpartition(".")[0]
        layer = options["model"].get_submodule(path)
        if isinstance(layer, layers.StoredEmbedding):
            return {name: formats.halved(weight)}
        assert isinstance(layer, layers.QuantizedLinear)
        expected = (layer.out_features, layer.in_features)
        if tuple(weight.shape) != expected:
            raise ValueError(f"{name} is {tuple(weight.shape)}, expected {expected}")
        stored, scales = formats.quantized(weight, layer.format)
        self.weight_config.errors.append(_error(weight, stored, scales))
        del layer.weight
        options["missing_keys"].discard(name)
        return {f"{path}.stored": stored, f"{path}.scales": scales}


def _error(weight: torch.Tensor, stored: torch.Tensor, scales: torch.Tensor) -> float:
    """Return the mean error of a sample of rows, relative to their weights."""
    sample = slice(None, None, max(1, len(weight) // 64))
    values = weight[sample].float()
    rounded = formats.dequantized(stored[sample], scales[sample])[:, : values.shape[1]]
    return float((rounded - values).norm() / values.norm().clamp(min=1e-30))
