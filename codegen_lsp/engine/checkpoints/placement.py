"""Which part of a model goes to which device, and in which dtype; decided before any weight is read.

Knows configurations, devices and accelerate. `models plan` prints what is decided here, and `model.load` does it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers
from accelerate import infer_auto_device_map, init_empty_weights
from accelerate.utils import get_balanced_memory
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from codegen_lsp.engine.checkpoints.locate import CheckpointError
from codegen_lsp.wire.config import EngineConfig

Device = str | int
DeviceMap = dict[str, Device]

STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")


def pick_dtype(config: EngineConfig) -> torch.dtype:
    """The dtype to compute in; `auto` takes bfloat16 where the GPU, or the processor without one, has it."""
    if config.dtype != "auto":
        dtype: torch.dtype = getattr(torch, config.dtype)
        return dtype
    if torch.cuda.is_available() and config.device_map != "cpu":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    capable = torch.cpu.get_capabilities()
    has = any(capable.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
    return torch.bfloat16 if has else torch.float32


def model_config(folder: Path) -> PretrainedConfig:
    """The configuration in a folder.

    Raises:
        CheckpointError: transformers can't make a causal language model of it.
    """
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        text = " ".join(str(error).split())
        if "trust_remote_code" in text or "custom code" in text:
            raise CheckpointError(
                f"{folder} needs code of its authors, which this engine never runs"
            ) from error
        if "does not recognize this architecture" in text or "Unrecognized model" in text:
            raise CheckpointError(
                f"transformers {transformers.__version__} does not know the kind of model in {folder}"
            ) from error
        raise CheckpointError(f"{folder / 'config.json'} is wrong: {text[:300]}") from error
    return config


def empty_module(config: PretrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """The model of a configuration, with no memory behind its weights.

    Raises:
        CheckpointError: the configuration is of no causal language model, or contradicts itself.
    """
    try:
        with init_empty_weights(include_buffers=True):
            module: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, dtype=dtype, trust_remote_code=False
            )
    except Exception as error:
        if "Unrecognized configuration class" in str(error):
            raise CheckpointError(f"a {config.model_type} model is no causal language model") from error
        text = " ".join(str(error).split())[:300]
        raise CheckpointError(f"the model's configuration is wrong: {text}") from error
    module.tie_weights()
    return module


def place(config: EngineConfig, module: PreTrainedModel, *, elsewhere: bool = False) -> DeviceMap:
    """Module names to devices: GPU numbers, `cpu`, `disk` and the like.

    With `elsewhere` the plan is for another machine: GPUs may be named that this one has not.

    Raises:
        CheckpointError: a JSON file names modules or devices that are not there, or leaves some out.
    """
    wanted = config.device_map
    if wanted.endswith(".json"):
        return _written_map(Path(wanted).expanduser(), module, elsewhere)
    if wanted not in STRATEGIES:
        return {"": check_device(wanted, "--device-map", elsewhere=elsewhere)}
    memory = _memory(config.max_memory, elsewhere)
    if wanted != "sequential":
        memory = get_balanced_memory(
            module,
            max_memory=memory,
            no_split_module_classes=_whole(module),
            low_zero=wanted == "balanced_low_0",
        )
    placed: DeviceMap = infer_auto_device_map(
        module, max_memory=memory, no_split_module_classes=_whole(module)
    )
    return placed


def _memory(limits: Mapping[str, int], elsewhere: bool) -> dict[Device, int]:
    """Bytes that each device may hold: as given, where anything is given; else what is free."""
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
            check_device(device, "--max-memory", elsewhere=elsewhere)
    memory = free | {d: size for d, size in given.items() if d != "cpu"}
    return memory | {"cpu": given.get("cpu", int(psutil.virtual_memory().available * 0.9))}


def _whole(module: PreTrainedModel) -> list[str]:
    """Classes of modules that must not be split over devices: a block's residual runs through it."""
    return sorted(module._no_split_modules or ())


def check_device(device: object, where: str, *, elsewhere: bool = False) -> Device:
    """A device of this machine, or of any with `elsewhere`: `cpu`, `disk`, `mps`, or a GPU's number.

    Raises:
        CheckpointError: there is no such device; `where` says who named it.
    """
    if device in ("cpu", "disk"):
        return str(device)
    text = f"cuda:{device}" if isinstance(device, int) or str(device).isdigit() else str(device)
    kind, _, number = text.partition(":")
    if isinstance(device, bool) or kind not in ("cuda", "xpu", "mps") or not (number or "0").isdigit():
        raise CheckpointError(f"{where}: {device!r} is no device; write cpu, disk, or cuda:0 and the like")
    count = torch.cuda.device_count() if kind == "cuda" else int(getattr(torch, kind).is_available())
    if int(number or 0) >= count and not elsewhere:
        raise CheckpointError(f"{where}: there is no device {text} on this machine ({kind} devices: {count})")
    return int(number or 0) if kind == "cuda" else text


def _written_map(path: Path, module: PreTrainedModel, elsewhere: bool) -> DeviceMap:
    """A hand-written device map, checked against the model's modules."""
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"the device map {path} can't be read ({why}); name a JSON file of module: device"
        ) from error
    if not isinstance(written, dict) or not written:
        raise CheckpointError(f'the device map {path} must be a JSON object of "module": "device"')
    result = {name: check_device(device, str(path), elsewhere=elsewhere) for name, device in written.items()}
    known = {name for name, _ in module.named_modules()} | {name for name, _ in module.named_parameters()}
    unknown = sorted(set(result) - known)
    if unknown:
        parts = ", ".join(_parts(module))
        raise CheckpointError(f"{path} names {unknown[0]!r}, which this model has not; its parts are {parts}")
    uncovered = next((n for n, _ in module.named_parameters() if device_of(n, result) is None), None)
    if uncovered is not None:
        raise CheckpointError(f"{path} says nothing of {uncovered!r}; every part needs a device")
    return result


def device_of(name: str, placed: DeviceMap) -> Device | None:
    """The device of a parameter: that of the nearest module above it which the map names."""
    while name not in placed:
        if not name:
            return None
        name = name.rpartition(".")[0]
    return placed[name]


def _parts(module: PreTrainedModel) -> list[str]:
    """The parts that a device map usually names: children, and their children."""
    parts: list[str] = []
    for name, child in module.named_children():
        inner = [f"{name}.{n}" for n, _ in child.named_children()]
        parts += inner or [name]
    return parts


def as_sizes(module: PreTrainedModel) -> dict[str, int]:
    """Bytes of every parameter and buffer, shared ones once."""
    tensors: dict[str, Any] = dict(module.named_parameters()) | dict(module.named_buffers())
    return {name: tensor.numel() * tensor.dtype.itemsize for name, tensor in tensors.items()}
