"""The model that a configuration loads, without its weights: its dtype, and which number format its weights get."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig, PreTrainedModel

from codegen_lsp.engine.checkpoints import placement
from codegen_lsp.engine.quantized import layers
from codegen_lsp.engine.quantized.choice import FormatChoice, choose
from codegen_lsp.wire.config import EngineConfig


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A model without weights, as it will be in memory."""

    module: PreTrainedModel
    dtype: torch.dtype
    """What it computes in."""
    choice: FormatChoice
    """The number format of its linear layers' weights."""
    parameters: int
    kv_dtype: torch.dtype
    """The dtype of its KV cache."""
    prompt_dtype: torch.dtype
    """What its quantized layers multiply many rows in."""
    halves: bool
    """Whether the checkpoint has numbers of 16 bits."""

    @property
    def weights(self) -> str:
        """Number format of the weights: int8, int4 or the dtype."""
        return self.choice.format or str(self.dtype).removeprefix("torch.")


def blueprint_of(config: EngineConfig, model_config: PretrainedConfig) -> Blueprint:
    """Return the model that a configuration loads, without weights, its layers replaced if they are quantized.

    Raises:
        CheckpointError: the model's configuration is not that of a causal language model, or is inconsistent.
    """
    halves = _has_halves(model_config)
    own, on_cpu = placement.pick_dtype(config), computes_on_cpu(config)
    module = placement.empty_module(model_config, own)
    parameters = module.num_parameters()
    choice = choose(_quantize(config), module, own, on_cpu=on_cpu)
    dtype = kv_dtype = own
    if choice.format is not None:
        if on_cpu and config.dtype == "auto":
            # The kernels compute in float32, so nothing would be gained by activations in 16 bits; and beside weights
            # of 8 bits, nothing is gained by keys and values of 32.
            dtype, kv_dtype = torch.float32, torch.bfloat16
            module = placement.empty_module(model_config, dtype)
        layers.replace_layers(module, choice.format, halves=halves)
        # Then the model no longer shares them, about which accelerate would warn.
        logging.getLogger("accelerate.utils.modeling").setLevel(logging.ERROR)
        layers.reserve_shared_head(module)
    return Blueprint(module, dtype, choice, parameters, kv_dtype, own, halves)


def _has_halves(model_config: PretrainedConfig) -> bool:
    """Return whether a checkpoint has numbers of 16 bits, as all do that don't say otherwise."""
    dtype = getattr(model_config, "dtype", None)
    return str(dtype).removeprefix("torch.") != "float32"


def _quantize(config: EngineConfig) -> str:
    """Return what to do with the weights: a dtype that is named is that of the weights too, unless both are named."""
    return "none" if config.quantize == "auto" and config.dtype != "auto" else config.quantize


def computes_on_cpu(config: EngineConfig) -> bool:
    """Return whether the processor computes every layer, wherever the layers are kept."""
    if config.device_map == "cpu":
        return True
    other = config.device_map.startswith(("cuda", "xpu", "mps")) or any(
        device.isdigit() or device == "mps" for device in config.max_memory
    )
    return not other and not torch.cuda.is_available() and not torch.backends.mps.is_available()
