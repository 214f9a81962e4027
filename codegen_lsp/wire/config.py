"""Configuration of an engine: one frozen dataclass, its command line flags, its socket and its log file.

Both sides build it, so that the language server finds the engine that serves its options, or starts it. Two
configurations with the same `key` share one engine. Nothing is loaded here, and torch is not imported.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

from codegen_lsp.wire.errors import ConfigError as ConfigError
from codegen_lsp.wire.fill.formats import FillMode
from codegen_lsp.wire.folders import SOCKET_BYTES as SOCKET_BYTES
from codegen_lsp.wire.folders import fits, log_dir
from codegen_lsp.wire.folders import runtime_dir as runtime_dir

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"K": 2**10, "M": 2**20, "G": 2**30, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}

DType = Literal["auto", "float32", "bfloat16", "float16"]
DTYPES = get_args(DType)
FILL_MODES = get_args(FillMode)
Quantize = Literal["auto", "none", "int8", "int4"]
QUANTIZE = get_args(Quantize)
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential", "cpu")

KEY = 12
"""Number of characters of a configuration's key."""


def option(name: str, value: str = "") -> str:
    """Return an option as an error names it: its flag and its setting, `--offload-folder (in an editor: ...)`."""
    first, *others = name.split("-")
    setting = first + "".join(word.capitalize() for word in others)
    return f"--{name}{' ' * bool(value)}{value} (in an editor: codegen.{setting})"


def expanded(path: str | Path) -> Path:
    """Return a path with the home folder in place of `~`.

    Raises:
        ConfigError: there is no such home folder, as for `~typo/model`.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"there is no home folder for {Path(path).parts[0]!r}") from error


MAX_BYTES = 2**60
"""Maximum size that an option or a flag may name: an exbibyte."""


def parse_bytes(text: str | int) -> int:
    """Return the bytes in `1GiB`, `512 MB`, `1.5g` or a plain number.

    Raises:
        ConfigError: it is none of these, negative, or more than any machine has.
    """
    match = re.fullmatch(r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([A-Za-z]*)\s*", str(text))
    if not match or match[2].upper() not in UNITS:
        raise ConfigError(
            f"expected a size such as 512MiB, 1GiB or a number of bytes, got {str(text)[:60]!r}"
        )
    size = float(match[1]) * UNITS[match[2].upper()]
    if size > MAX_BYTES:
        raise ConfigError(f"a size of {str(text)[:60]} is more than any machine has")
    return int(size)


def parse_cache_size(text: str | int) -> int | None:
    """Return the bytes in a size, None for `auto`.

    Raises:
        ConfigError: it is neither.
    """
    return None if text == "auto" else parse_bytes(text)


def parse_max_memory(text: str) -> dict[str, int]:
    """Return the bytes a device may hold, from `0=20GiB,cpu=16GiB`; devices are GPU numbers, `cpu` or `disk`.

    Raises:
        ConfigError: a part is not `device=size`.
    """
    limits: dict[str, int] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        device, equals, size = (p.strip() for p in part.partition("="))
        if not equals or not re.fullmatch(r"[0-9]{1,4}|cpu|disk|mps", device):
            raise ConfigError(f"expected device=size, for example 0=20GiB,cpu=16GiB, got {part[:60]!r}")
        limits[device] = parse_bytes(size)
    return limits


@dataclass(frozen=True)
class EngineConfig:
    """Everything in which engines differ."""

    model: str = "nano"
    """Short name (nano, 350M-mono ... 16B-nl), name on the Hugging Face hub, local folder, or GGUF file."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    dtype: str = "auto"
    """auto, float32, bfloat16 or float16; auto takes bfloat16 if the processor or GPU computes in it."""
    quantize: str = "auto"
    """auto, none, int8 or int4; auto takes int8 where the processor is faster with it and it is accurate."""
    device_map: str = "auto"
    """auto, balanced, balanced_low_0, sequential, cpu, a device (cuda:0), or a JSON file of module: device."""
    max_memory: Mapping[str, int] = field(default_factory=dict)
    """Maximum number of bytes of weights per device."""
    offload_folder: str | None = None
    """Folder for layers that fit into no device's memory."""
    prefix_cache: int | None = None
    """Maximum number of bytes of KV cache that are kept for later prompts; 0 keeps none, None allows 12 full contexts,
    up to 1 GiB."""
    context: int = 0
    """Maximum number of tokens of prompt and completion together; 0 takes the model's maximum."""
    prefill_chunk: int = 0
    """Maximum number of prompt tokens that are read per step; 0 takes 256 on the processor, and 2,048 on a GPU.

    A cancellation takes effect between two steps.
    """
    threads: int = 0
    """Number of processor threads of a forward pass; 0 leaves it to torch."""
    allow_pickle: bool = False
    """Load checkpoints that contain pickles (`.bin`), which can run code, and not only safetensors."""
    max_waiting: int = 64
    """Maximum number of waiting requests; one more is answered with 429."""
    request_memory: int = 0
    """Maximum number of bytes of KV cache of all running requests; 0 takes half of the memory that is free."""
    fill_in_the_middle: FillMode = "auto"
    """auto asks with the text after the cursor if the model was trained for that; always, or never, decides it."""
    fim_format: str = ""
    """Family of the model's fill-in-the-middle tokens, or a JSON file that describes them; empty detects it."""

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise ConfigError("the model's name must not be empty; nano is the bundled model")
        if self.dtype not in DTYPES:
            raise ConfigError(f"expected a dtype of {', '.join(DTYPES)}, got {self.dtype!r}")
        if self.fill_in_the_middle not in FILL_MODES:
            modes = ", ".join(FILL_MODES)
            raise ConfigError(f"expected fill-in-the-middle of {modes}, got {self.fill_in_the_middle!r}")
        if self.quantize not in QUANTIZE:
            raise ConfigError(f"expected quantize to be {', '.join(QUANTIZE)}, got {self.quantize!r}")
        for name in ("prefix_cache", "context", "prefill_chunk", "threads", "request_memory"):
            if (getattr(self, name) or 0) < 0:
                raise ConfigError(f"{name.replace('_', '-')} must not be negative")
        if self.max_waiting < 1:
            raise ConfigError("max-waiting must be at least 1")
        device_map = self.device_map
        if device_map not in DEVICE_MAPS and not re.fullmatch(r"(cuda|xpu)(:\d+)?|mps|.+\.json", device_map):
            names = ", ".join(DEVICE_MAPS)
            raise ConfigError(
                f"expected a device map of {names}, cuda:N or a .json file, got {device_map[:60]!r}"
            )

    def key(self) -> str:
        """Return twelve characters that identify the configuration."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:KEY]

    def to_argv(self) -> list[str]:
        """Return the flags of `codegen-lsp serve` for this configuration, without defaults."""
        argv: list[str] = []
        default = EngineConfig()
        for name, value in asdict(self).items():
            if value == getattr(default, name):
                continue
            flag = "--" + name.replace("_", "-")
            if isinstance(value, bool):
                argv.append(flag)
            elif isinstance(value, dict):
                argv += [flag, ",".join(f"{device}={size}" for device, size in value.items())]
            else:
                argv += [flag, str(value)]
        return argv


def socket_path(config: EngineConfig) -> Path:
    """Return the unix socket of the engine with this configuration.

    Raises:
        ConfigError: there is no folder for it, or the folder's path is too long.
    """
    folder = runtime_dir()
    if not fits(folder):
        raise ConfigError(
            f"the path {folder} is too long for a socket; set CODEGEN_LSP_RUNTIME_DIR to a shorter folder"
        )
    return folder / f"{config.key()}.sock"


def log_path(config: EngineConfig) -> Path:
    """Return the log file of the engine with this configuration.

    Raises:
        ConfigError: there is no folder for it.
    """
    return log_dir() / f"engine-{config.key()}.log"
