"""Decide which part of a model goes to which device, and in which dtype, before any weight is read.

Knows configurations, devices and accelerate. `models plan` prints the decision, and loading the model follows it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers
from accelerate import infer_auto_device_map, init_empty_weights
from accelerate.utils import get_balanced_memory
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from codegen_lsp.engine.checkpoints import files
from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError
from codegen_lsp.engine.quantized import layers
from codegen_lsp.engine.quantized.choice import FormatChoice, choose
from codegen_lsp.wire.config import EngineConfig, expanded

Device = str | int
DeviceMap = dict[str, Device]

CODEGEN = "codegen"
"""The model type that this engine has a forward pass and KV buffers for."""

STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")


def pick_dtype(config: EngineConfig) -> torch.dtype:
    """Return the dtype to compute in; `auto` is bfloat16 if the GPU, or the processor without one, supports it."""
    if config.dtype != "auto":
        dtype: torch.dtype = getattr(torch, config.dtype)
        return dtype
    if torch.cuda.is_available() and config.device_map != "cpu":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    capable = torch.cpu.get_capabilities()
    supported = any(capable.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
    return torch.bfloat16 if supported else torch.float32


def model_config(folder: Path) -> PretrainedConfig:
    """Return the configuration in a folder.

    Raises:
        CheckpointError: it is missing or wrong, or transformers can't build a causal language model from it.
    """
    files.read_config(folder)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        text = " ".join(str(error).split())
        if "trust_remote_code" in text or "custom code" in text:
            raise CheckpointError(
                f"{folder} requires code of its authors, which this engine never runs"
            ) from error
        if "does not recognize this architecture" in text or "Unrecognized model" in text:
            raise CheckpointError(
                f"transformers {transformers.__version__} does not support the kind of model in {folder}"
            ) from error
        raise CheckpointError(f"{folder / 'config.json'} is wrong: {text[:300]}") from error
    return config


def empty_module(config: PretrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """Return the model of a configuration without allocating memory for its weights.

    Raises:
        CheckpointError: the configuration is not that of a causal language model, or is inconsistent.
    """
    try:
        with init_empty_weights(include_buffers=True):
            module: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, dtype=dtype, trust_remote_code=False
            )
    except Exception as error:
        if "Unrecognized configuration class" in str(error):
            raise CheckpointError(f"a {config.model_type} model is not a causal language model") from error
        text = " ".join(str(error).split())[:300]
        raise CheckpointError(f"the model's configuration is wrong: {text}") from error
    module.tie_weights()
    return module


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
    """What its quantized layers multiply many rows in; float32 leaves them to the kernels."""
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
    unquantized, on_cpu = pick_dtype(config), computes_on_cpu(config)
    module = empty_module(model_config, unquantized)
    parameters = module.num_parameters()
    room = None if on_cpu else gpu_room(config)
    choice = choose(_quantize(config), module, unquantized, on_cpu=on_cpu, gpu_room=room)
    dtype = kv_dtype = prompt_dtype = unquantized
    if choice.format is not None:
        if on_cpu and choice.format == "int8" and _has_matrix_unit():
            # Its kernels take no dequantized weights, so nothing is faster.
            prompt_dtype = torch.float32
        if on_cpu and config.dtype == "auto":
            # The kernels compute in float32, so nothing would be gained by activations in 16 bits; and beside weights
            # of 8 bits, nothing is gained by keys and values of 32, where this engine stores them.
            dtype = torch.float32
            kv_dtype = torch.bfloat16 if model_config.model_type == CODEGEN else dtype
            module = empty_module(model_config, dtype)
        layers.replace_layers(module, choice.format, halves=halves)
        # Then the model no longer shares them, about which accelerate would warn.
        logging.getLogger("accelerate.utils.modeling").setLevel(logging.ERROR)
        layers.reserve_shared_head(module, halves=halves)
    return Blueprint(module, dtype, choice, parameters, kv_dtype, prompt_dtype, halves)


def _has_matrix_unit() -> bool:
    """Return whether the processor has a unit for products of many rows that kernels can use."""
    from codegen_lsp.engine.quantized.product_kernels import amx

    return amx.is_usable()


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


def gpu_room(config: EngineConfig) -> int | None:
    """Return the bytes of weights that GPUs may hold, None if a map decides or a GPU of another machine is meant."""
    memory = _memory(config.max_memory, other_machine=True)
    named = config.device_map.removeprefix("cuda").removeprefix(":") or "0"
    if config.device_map.startswith("cuda"):
        return memory.get(int(named))
    rooms = [size for device, size in memory.items() if isinstance(device, int)]
    return sum(rooms) if rooms and config.device_map in STRATEGIES else None


def place(config: EngineConfig, module: PreTrainedModel, *, other_machine: bool = False) -> DeviceMap:
    """Map module names to devices: GPU numbers, `cpu`, `disk` and so on.

    With `other_machine` the map may name GPUs that this machine doesn't have.

    Raises:
        CheckpointError: a JSON file names modules or devices that don't exist, or leaves some out.
    """
    strategy = config.device_map
    if strategy.endswith(".json"):
        return _written_map(expanded(strategy), module, other_machine)
    if strategy not in STRATEGIES:
        return {"": check_device(strategy, "--device-map", other_machine=other_machine)}
    memory = _memory(config.max_memory, other_machine)
    if strategy != "sequential":
        memory = get_balanced_memory(
            module,
            max_memory=memory,
            no_split_module_classes=_indivisible(module),
            low_zero=strategy == "balanced_low_0",
        )
    placed: DeviceMap = infer_auto_device_map(
        module, max_memory=memory, no_split_module_classes=_indivisible(module)
    )
    return placed


def _memory(limits: Mapping[str, int], other_machine: bool) -> dict[Device, int]:
    """Return the bytes that each device may hold: the given limits, otherwise the memory that is free."""
    free: dict[Device, int] = {}
    if not any(device.isdigit() or device == "mps" for device in limits):
        for gpu in range(torch.cuda.device_count()):
            free[gpu] = int(torch.cuda.mem_get_info(gpu)[0] * 0.9)
        if not free and torch.backends.mps.is_available():
            free["mps"] = int(psutil.virtual_memory().available * 0.7)
    given: dict[Device, int] = {
        int(d) if d.isdigit() else d: size for d, size in limits.items() if d != "disk"
    }
    for device in given:
        if device != "cpu":
            check_device(device, "--max-memory", other_machine=other_machine)
    memory = free | {d: size for d, size in given.items() if d != "cpu"}
    return memory | {"cpu": given.get("cpu", int(psutil.virtual_memory().available * 0.9))}


def _indivisible(module: PreTrainedModel) -> list[str]:
    """Return the classes of modules that can't be split between devices, because a residual runs through them."""
    return sorted(module._no_split_modules or ())


def check_device(device: object, source: str, *, other_machine: bool = False) -> Device:
    """Return a device as accelerate names it: `cpu`, `disk`, `mps`, or the number of a GPU.

    With `other_machine` the device doesn't have to exist on this one.

    Raises:
        CheckpointError: there is no such device; `source` is the option or file that names it.
    """
    if device in ("cpu", "disk"):
        return str(device)
    text = f"cuda:{device}" if isinstance(device, int) or str(device).isdigit() else str(device)
    kind, _, number = text.partition(":")
    if isinstance(device, bool) or kind not in ("cuda", "xpu", "mps") or not (number or "0").isdigit():
        raise CheckpointError(f"{source}: expected a device such as cpu, disk or cuda:0, got {device!r}")
    count = torch.cuda.device_count() if kind == "cuda" else int(getattr(torch, kind).is_available())
    if int(number or 0) >= count and not other_machine:
        raise CheckpointError(
            f"{source}: there is no device {text} on this machine ({kind} devices: {count})"
        )
    return int(number or 0) if kind == "cuda" else text


def _written_map(path: Path, module: PreTrainedModel, other_machine: bool) -> DeviceMap:
    """Read a device map from a file, and check it against the model's modules."""
    try:
        written = files.read_json(path)
    except CheckpointError as error:
        raise CheckpointError(f"the device map: {error}; name a JSON file of module: device") from error
    if not isinstance(written, dict) or not written:
        raise CheckpointError(f'the device map {path} must be a JSON object of "module": "device"')
    placed = {
        name: check_device(device, str(path), other_machine=other_machine) for name, device in written.items()
    }
    names = {name for name, _ in module.named_modules()} | {name for name, _ in module.named_parameters()}
    unknown = sorted(set(placed) - names)
    if unknown:
        raise CheckpointError(
            f"{path} names {unknown[0]!r}, which this model doesn't have; its parts are {', '.join(_parts(module))}"
        )
    uncovered = next((n for n, _ in module.named_parameters() if device_of(n, placed) is None), None)
    if uncovered is not None:
        raise CheckpointError(f"{path} doesn't mention {uncovered!r}; every part requires a device")
    return placed


def device_of(name: str, placed: DeviceMap) -> Device | None:
    """Return the device of a parameter: that of the nearest enclosing module in the map."""
    while name not in placed:
        if not name:
            return None
        name = name.rpartition(".")[0]
    return placed[name]


def _parts(module: PreTrainedModel) -> list[str]:
    """Return the parts that a device map usually names: children, and their children."""
    parts: list[str] = []
    for name, child in module.named_children():
        inner = [f"{name}.{n}" for n, _ in child.named_children()]
        parts += inner or [name]
    return parts


def as_sizes(module: PreTrainedModel) -> dict[str, int]:
    """Return the bytes of every parameter and buffer, shared ones once."""
    tensors: dict[str, Any] = dict(module.named_parameters()) | dict(module.named_buffers())
    return {name: tensor.numel() * tensor.dtype.itemsize for name, tensor in tensors.items()}
