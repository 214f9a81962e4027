"""What an engine is started with: one frozen dataclass, its flags, and the socket that belongs to it.

Knows names, sizes and paths. Loads nothing and imports no torch: the language server builds the same
configuration to find, or start, the engine that serves it. Two configurations with the same `key` are the
same engine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import platformdirs

from codegen_lsp.wire.errors import CodegenError

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"K": 2**10, "M": 2**20, "G": 2**30, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential", "cpu")

KEY = 12
"""Characters of a configuration's key."""

SOCKET_BYTES = 103
"""Bytes that the path of a unix socket may have on macOS; Linux takes 107."""


class ConfigError(CodegenError, ValueError):
    """A flag or option is wrong; the message says what would be right."""


def option(name: str, value: str = "") -> str:
    """An option as an error names it: `--offload-folder`, and the setting that stands for it in an editor."""
    first, *rest = name.split("-")
    setting = first + "".join(word.capitalize() for word in rest)
    return f"--{name}{' ' * bool(value)}{value} (in an editor: codegen.{setting})"


def parse_bytes(text: str | int) -> int:
    """Bytes in `1GiB`, `512 MB`, `1.5g` or a plain number.

    Raises:
        ConfigError: it is none of these, or negative.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(text))
    if not match or match[2].upper() not in UNITS:
        raise ConfigError(f"{text!r} is no size; write it as 512MiB, 1GiB or a number of bytes")
    return int(float(match[1]) * UNITS[match[2].upper()])


def parse_max_memory(text: str) -> dict[str, int]:
    """Bytes a device may hold, from `0=20GiB,cpu=16GiB`; devices are GPU numbers, `cpu` or `disk`.

    Raises:
        ConfigError: a part is no `device=size`.
    """
    limits: dict[str, int] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        device, equals, size = (p.strip() for p in part.partition("="))
        if not equals or not re.fullmatch(r"\d+|cpu|disk|mps", device):
            raise ConfigError(f"{part!r} is no device=size; write for example 0=20GiB,cpu=16GiB")
        limits[device] = parse_bytes(size)
    return limits


@dataclass(frozen=True)
class EngineConfig:
    """Everything that makes one engine differ from another."""

    model: str = "nano"
    """A short name (nano, 350M-mono ... 16B-nl), a name on the Hugging Face hub, or a local folder."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    dtype: str = "auto"
    """auto, float32, bfloat16 or float16; auto takes bfloat16 where the processor or GPU computes in it."""
    device_map: str = "auto"
    """auto, balanced, balanced_low_0, sequential, cpu, a device (cuda:0), or a JSON file of module: device."""
    max_memory: Mapping[str, int] = field(default_factory=dict)
    """Bytes that each device may hold of the weights."""
    offload_folder: str | None = None
    """Where layers go that fit in no device's memory."""
    prefix_cache: int = 2**30
    """Bytes of KV cache kept for prompts to come; 0 keeps none."""
    context: int = 0
    """Tokens of prompt and completion together at most; 0 takes the model's own."""
    prefill_chunk: int = 256
    """Tokens of prompt that one step reads; a cancel takes effect between two steps."""
    threads: int = 0
    """Threads of the processor for a forward pass; 0 leaves it to torch."""
    allow_pickle: bool = False
    """Load checkpoints that hold pickles (`.bin`), which can run code; safetensors alone without it."""
    max_waiting: int = 64
    """Requests that may wait; one more is answered with 429."""

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise ConfigError("the model's name is empty; nano is the bundled one")
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype {self.dtype!r} is none of {', '.join(DTYPES)}")
        for name in ("prefix_cache", "context", "threads"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name.replace('_', '-')} must not be negative")
        for name in ("prefill_chunk", "max_waiting"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name.replace('_', '-')} must be at least 1")
        device_map = self.device_map
        if device_map not in DEVICE_MAPS and not re.fullmatch(r"(cuda|xpu)(:\d+)?|mps|.+\.json", device_map):
            names = ", ".join(DEVICE_MAPS)
            raise ConfigError(f"device map {device_map!r} is none of {names}, cuda:N, or a .json file")

    def key(self) -> str:
        """Twelve characters that are the same for the same configuration, and only for it."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:KEY]

    def to_argv(self) -> list[str]:
        """The flags of `codegen-lsp serve` that give this configuration; defaults are left out."""
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


def runtime_dir() -> Path:
    """A folder that only this user can enter, for sockets, locks and tokens; made where it is missing.

    `CODEGEN_LSP_RUNTIME_DIR` names another one. Without it the first of the usual places that is private and whose
    path leaves room for the name of a socket.

    Raises:
        ConfigError: there is none, or the one named can't be had, or belongs to somebody else.
    """
    named = os.environ.get("CODEGEN_LSP_RUNTIME_DIR")
    if named:
        return _private(Path(named).absolute())
    for folder in _usual_runtime_dirs():
        if _fits(folder):
            with contextlib.suppress(ConfigError):
                return _private(folder)
    raise ConfigError(
        "there is no private folder for the engine's socket; set CODEGEN_LSP_RUNTIME_DIR to a short one of yours"
    )


def _usual_runtime_dirs() -> Iterator[Path]:
    """Where the socket goes if nobody says: the system's place for it, else the cache, else the temporary folder."""
    with warnings.catch_warnings(), contextlib.suppress(OSError):
        # A missing XDG_RUNTIME_DIR (a container, a bare ssh login) is no news to somebody who types.
        warnings.simplefilter("ignore")
        yield platformdirs.user_runtime_path("codegen-lsp", appauthor=False, ensure_exists=True)
    yield platformdirs.user_cache_path("codegen-lsp", appauthor=False) / "run"
    user = os.getuid() if sys.platform != "win32" else os.environ.get("USERNAME", "")
    yield Path(tempfile.gettempdir()) / f"codegen-lsp-{user}"
    yield Path("/tmp") / f"codegen-lsp-{user}"  # only if it is ours and private, see `_private`


def _private(folder: Path) -> Path:
    """A folder that this user owns and nobody else can enter, made where it is missing.

    Raises:
        ConfigError: it can't be made, is no folder, or belongs to somebody else.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if sys.platform != "win32":
            if status.st_uid != os.getuid():
                raise ConfigError(
                    f"{folder} belongs to another user; set CODEGEN_LSP_RUNTIME_DIR to a folder of yours"
                )
            if status.st_mode & 0o077:
                folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            f"the folder {folder} can't be used ({error.strerror}); set CODEGEN_LSP_RUNTIME_DIR to a folder of yours"
        ) from error
    return folder


def _fits(folder: Path) -> bool:
    """Whether the path of a socket in a folder is short enough for the system."""
    return len(os.fsencode(folder / f"{'0' * KEY}.sock")) <= SOCKET_BYTES


def socket_path(config: EngineConfig) -> Path:
    """The unix socket of the engine with this configuration.

    Raises:
        ConfigError: there is no folder for it, or the folder's path is too long.
    """
    folder = runtime_dir()
    if not _fits(folder):
        raise ConfigError(
            f"the path {folder} is too long for a socket; set CODEGEN_LSP_RUNTIME_DIR to a shorter folder"
        )
    return folder / f"{config.key()}.sock"


def log_path(config: EngineConfig) -> Path:
    """The log file of the engine with this configuration."""
    if os.environ.get("CODEGEN_LSP_RUNTIME_DIR"):
        folder = runtime_dir()
    else:
        folder = platformdirs.user_log_path("codegen-lsp", appauthor=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            folder = runtime_dir()
    return folder / f"engine-{config.key()}.log"
