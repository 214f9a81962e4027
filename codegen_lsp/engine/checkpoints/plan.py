"""What a model will take: layers to devices, bytes, and KV cache; without reading a weight.

Knows configurations and placement. Works for the twelve CodeGen names from the shapes kept in the code, and for
checkpoints that are on this machine from their `config.json`. No network.
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

from codegen_lsp.engine.checkpoints import locate, placement
from codegen_lsp.engine.checkpoints.locate import Checkpoint, CheckpointError
from codegen_lsp.engine.checkpoints.shapes import shape_of
from codegen_lsp.wire.config import EngineConfig


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a model goes, and what it takes. Sizes in bytes."""

    model: str
    dtype: str
    parameters: int
    layers: tuple[tuple[str, str], ...]
    """(module, device), in the model's order."""
    device_bytes: dict[str, int]
    """Weights and buffers that each device holds."""
    kv_bytes_per_token: int
    """As the prefix cache keeps it."""
    kv_running_bytes_per_token: int
    """As a request that runs holds it: on the processor in float32, which is what it computes with."""
    context: int
    process_bytes: int
    """Memory of this process without any weights: Python and the libraries."""

    @property
    def weight_bytes(self) -> int:
        """Weights and buffers on all devices."""
        return sum(self.device_bytes.values())

    @property
    def needs_offload(self) -> bool:
        """Some layers fit in no memory."""
        return "disk" in self.device_bytes

    def to_json(self) -> dict[str, Any]:
        """The plan as `models plan --json` prints it."""
        return {
            "model": self.model,
            "dtype": self.dtype,
            "parameters": self.parameters,
            "weight_bytes": self.weight_bytes,
            "layers": [{"module": module, "device": device} for module, device in self.layers],
            "devices": {device: {"bytes": size} for device, size in self.device_bytes.items()},
            "kv_bytes_per_token": self.kv_bytes_per_token,
            "context": self.context,
            "kv_running_bytes_per_token": self.kv_running_bytes_per_token,
            "kv_bytes_full_context": self.kv_bytes_per_token * self.context,
            "process_bytes": self.process_bytes,
            "needs_offload_folder": self.needs_offload,
        }


def plan(config: EngineConfig) -> Plan:
    """The plan for a configuration.

    Raises:
        CheckpointError: the model is neither on this machine nor one of the twelve, or the device map is wrong.
    """
    checkpoint = locate.of(config)
    shape = _config_of(checkpoint)
    dtype = placement.pick_dtype(config)
    module = placement.empty_module(shape, dtype)
    # A plan may name GPUs that only another machine has; accelerate would warn of each on standard error.
    logging.getLogger("accelerate.utils.modeling").setLevel(logging.ERROR)
    placed = placement.place(config, module, elsewhere=True)
    sizes = _device_bytes(module, placed)
    # accelerate runs every layer on the graphics processor where there is one, wherever the layer is kept.
    computed = torch.float32 if sizes.keys() <= {"cpu", "disk"} else dtype
    limits = getattr(shape.get_text_config(), "max_position_embeddings", None) or 0
    return Plan(
        model=checkpoint.name,
        dtype=str(dtype).removeprefix("torch."),
        parameters=sum(p.numel() for p in module.parameters()),
        layers=tuple(_layers(module, placed)),
        device_bytes=sizes,
        kv_bytes_per_token=kv_bytes_per_token(shape, dtype),
        kv_running_bytes_per_token=kv_bytes_per_token(shape, computed),
        context=min(config.context or limits, limits) if limits else config.context,
        process_bytes=psutil.Process().memory_info().rss,
    )


def _config_of(checkpoint: Checkpoint) -> PretrainedConfig:
    if checkpoint.kind != "hub":
        folder = Path(checkpoint.source)
        locate.read_config(folder)
        return placement.model_config(folder)
    shape = shape_of(checkpoint.source)
    if shape is not None:
        return CodeGenConfig(**shape.config())
    cached = locate.cached_config(checkpoint)
    if cached is None:
        raise CheckpointError(
            f"the configuration of {checkpoint.source} is not on this machine; "
            f"run `codegen-lsp models pull {checkpoint.name}` first"
        )
    return placement.model_config(cached)


def kv_bytes_per_token(config: PretrainedConfig, dtype: torch.dtype) -> int:
    """Bytes of keys and values that a token takes in all layers: 2 x layers x heads x width of a head x item."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    layers = len(DynamicCache(config=config).layers) or text.num_hidden_layers
    return int(2 * layers * heads * width * dtype.itemsize)


def _device_bytes(module: PreTrainedModel, placed: placement.DeviceMap) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, size in placement.as_sizes(module).items():
        device = placement.device_of(name, placed)
        sizes[device_name(device)] = sizes.get(device_name(device), 0) + size
    return sizes


def device_name(device: object) -> str:
    """`cuda:0` for GPU 0, other devices by their own names."""
    return f"cuda:{device}" if isinstance(device, int) else str(device)


def _layers(module: PreTrainedModel, placed: placement.DeviceMap) -> Sequence[tuple[str, str]]:
    """The model's parts down to its layers, each with its device."""
    names: list[str] = []
    blocks = set(module._no_split_modules or ())
    for name, part in module.named_modules():
        inside = any(name.startswith(done + ".") for done in names)
        whole = type(part).__name__ in blocks or not any(True for _ in part.children())
        if name and whole and not inside and any(True for _ in part.parameters()):
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
