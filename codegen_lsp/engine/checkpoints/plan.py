"""Plan where a model's layers go and how many bytes its weights and KV cache take, without reading a weight.

Knows configurations and placement. Plans the twelve CodeGen models from their known dimensions, and checkpoints on this
machine from their `config.json`. Uses no network.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import CodeGenConfig, DynamicCache, PretrainedConfig, PreTrainedModel

from codegen_lsp.engine.architectures import OWN_NAMES, has_own_network
from codegen_lsp.engine.checkpoints import files, hub, locate, placement
from codegen_lsp.engine.checkpoints.checkpoint import Checkpoint, CheckpointError
from codegen_lsp.engine.checkpoints.dimensions import dimensions_of
from codegen_lsp.engine.checkpoints.placement import blueprint_of
from codegen_lsp.engine.checkpoints.sources import gguf
from codegen_lsp.engine.checkpoints.tokenizer import check_tokenizer
from codegen_lsp.wire.config import EngineConfig


@dataclass(frozen=True, slots=True)
class Plan:
    """The devices and the memory of a model. Sizes in bytes."""

    model: str
    dtype: str
    """What the model computes in."""
    weights: str
    """Number format of the weights: int8, int4 or the dtype."""
    weights_reason: str
    steps: str
    """How the device that holds the whole model makes steps of few tokens; empty for other plans."""
    parameters: int
    layers: tuple[tuple[str, str], ...]
    """(module, device), in the model's order."""
    device_bytes: dict[str, int]
    """Weights and buffers that each device holds."""
    kv_bytes_per_token: int
    """In the prefix cache, and in a running request."""
    context: int
    process_bytes: int
    """Memory of this process without any weights: Python and the libraries."""

    @property
    def weight_bytes(self) -> int:
        """Weights and buffers on all devices."""
        return sum(self.device_bytes.values())

    @property
    def needs_offload(self) -> bool:
        """Whether some layers don't fit into memory."""
        return "disk" in self.device_bytes

    def to_json(self) -> dict[str, Any]:
        """Return the plan as `models plan --json` prints it."""
        return {
            "model": self.model,
            "dtype": self.dtype,
            "weights": self.weights,
            "weights_reason": self.weights_reason,
            "steps": self.steps,
            "parameters": self.parameters,
            "weight_bytes": self.weight_bytes,
            "layers": [{"module": module, "device": device} for module, device in self.layers],
            "devices": {device: {"bytes": size} for device, size in self.device_bytes.items()},
            "kv_bytes_per_token": self.kv_bytes_per_token,
            "context": self.context,
            "kv_bytes_full_context": self.kv_bytes_per_token * self.context,
            "process_bytes": self.process_bytes,
            "needs_offload_folder": self.needs_offload,
        }


def plan(config: EngineConfig) -> Plan:
    """Return the plan for a configuration.

    Raises:
        CheckpointError: the model is neither on this machine nor one of the twelve, or the device map is wrong.
    """
    checkpoint = locate.of(config)
    model_config = _config_of(checkpoint)
    blueprint = blueprint_of(config, model_config)
    module, dtype = blueprint.module, blueprint.dtype
    # A plan may name GPUs of another machine; accelerate would warn about each on standard error.
    logging.getLogger("accelerate.utils.modeling").setLevel(logging.ERROR)
    placed = placement.place(config, module, other_machine=True)
    sizes = _device_bytes(module, placed)
    limit = getattr(model_config.get_text_config(), "max_position_embeddings", None) or 0
    return Plan(
        model=checkpoint.name,
        dtype=str(dtype).removeprefix("torch."),
        weights=blueprint.weights,
        weights_reason=blueprint.choice.reason,
        steps=_steps(model_config, sizes),
        parameters=blueprint.parameters,
        layers=tuple(_layers(module, placed)),
        device_bytes=sizes,
        kv_bytes_per_token=kv_bytes_per_token(model_config, blueprint.kv_dtype),
        context=min(config.context or limit, limit) if limit else config.context,
        process_bytes=psutil.Process().memory_info().rss,
    )


def _config_of(checkpoint: Checkpoint) -> PretrainedConfig:
    if checkpoint.kind == "gguf":
        gguf.check_file(Path(checkpoint.source))
        return gguf.model_config(Path(checkpoint.source))
    if checkpoint.kind != "hub":
        folder = Path(checkpoint.source)
        check_tokenizer(folder)
        files.weight_files(folder)
        return placement.model_config(folder)
    dimensions = dimensions_of(checkpoint.source)
    if dimensions is not None:
        return CodeGenConfig(**dimensions.config())
    cached = hub.cached_config(checkpoint)
    if cached is None:
        raise CheckpointError(
            f"the configuration of {checkpoint.source} is not on this machine; "
            f"run `codegen-lsp models pull {checkpoint.name}` first"
        )
    return placement.model_config(cached)


def kv_bytes_per_token(config: PretrainedConfig, dtype: torch.dtype) -> int:
    """Return the bytes of one token's keys and values: 2 x layers x heads x width of a head x bytes of the dtype.

    Raises:
        CheckpointError: the configuration is inconsistent.
    """
    text = config.get_text_config()
    try:
        heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
        width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        layers = len(DynamicCache(config=config).layers) or text.num_hidden_layers
        return int(2 * layers * heads * width * dtype.itemsize)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"the model's configuration is wrong: {files.first_line(error)}") from error


def _steps(config: PretrainedConfig, sizes: dict[str, int]) -> str:
    """Return how a GPU makes steps of few tokens, empty if none holds layers."""
    gpus = [device for device in sizes if device.startswith("cuda")]
    if not gpus:
        return ""
    if not has_own_network(config):
        return f"one call after the other: CUDA graphs are for {OWN_NAMES} models"
    if len(sizes) > 1:
        return "one call after the other: CUDA graphs are for models that are whole on one GPU"
    return "CUDA graphs, recorded when they are first made"


def _device_bytes(module: PreTrainedModel, placed: placement.DeviceMap) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, size in placement.as_sizes(module).items():
        device = placement.device_of(name, placed)
        sizes[device_name(device)] = sizes.get(device_name(device), 0) + size
    return sizes


def device_name(device: object) -> str:
    """Return `cuda:0` for GPU 0, and other devices by their own names."""
    return f"cuda:{device}" if isinstance(device, int) else str(device)


def _layers(module: PreTrainedModel, placed: placement.DeviceMap) -> Sequence[tuple[str, str]]:
    """Return the parts of a model down to its layers, each with its device."""
    names: list[str] = []
    blocks = set(module._no_split_modules or ())
    for name, part in module.named_modules():
        inside = any(name.startswith(done + ".") for done in names)
        indivisible = type(part).__name__ in blocks or not any(True for _ in part.children())
        if name and indivisible and not inside and any(True for _ in part.parameters()):
            names.append(name)
    return [(name, device_name(_device_below(name, module, placed))) for name in names]


def _device_below(name: str, module: PreTrainedModel, placed: placement.DeviceMap) -> placement.Device:
    device = placement.device_of(name, placed)
    if device is not None:
        return device
    inner = {
        placement.device_of(f"{name}.{n}", placed) for n, _ in module.get_submodule(name).named_parameters()
    }
    return " + ".join(sorted(device_name(d) for d in inner))
