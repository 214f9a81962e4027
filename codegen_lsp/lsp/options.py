"""What a user can set: one frozen dataclass, read from `initializationOptions` and the `codegen` settings.

Knows names, types, bounds and defaults, and says in one sentence what is wrong with a value. Knows no LSP
message and no engine. Every default is a value that works; a bad value never stops the server.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import itertools
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from codegen_lsp.wire.config import (
    DTYPES,
    ConfigError,
    EngineConfig,
    parse_bytes,
    parse_max_memory,
)

SECTION = "codegen"
"""The section of `workspace/configuration` and of an editor's settings file."""

IGNORED = ("editorInfo", "editorPluginInfo", "trace", "connectionToken")
"""Keys that clients send besides settings."""

Read = Callable[[object], Any]


def _describe(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _option(default: Any, read: Read, **schema: Any) -> Any:
    metadata = {"read": read, "schema": schema}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def _flag(default: bool) -> Any:
    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise ConfigError("must be true or false")
        return value

    return _option(default, read, type="boolean")


def _integer(default: int, low: int, high: int) -> Any:
    def read(value: object) -> int:
        whole = isinstance(value, float) and value.is_integer()
        if isinstance(value, bool) or not (isinstance(value, int) or whole):
            raise ConfigError(f"must be a whole number from {low} to {high}")
        number = int(value)  # type: ignore[call-overload]
        if not low <= number <= high:
            raise ConfigError(f"must be from {low} to {high}")
        return int(number)

    return _option(default, read, type="integer", minimum=low, maximum=high)


def _number(default: float, low: float, high: float) -> Any:
    def read(value: object) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type, operator]
            raise ConfigError(f"must be a number from {low:g} to {high:g}")
        return float(value)  # type: ignore[arg-type]

    return _option(default, read, type="number", minimum=low, maximum=high)


def _choice(default: str, *choices: str) -> Any:
    def read(value: object) -> str:
        if value not in choices:
            raise ConfigError(f"must be one of {', '.join(choices)}")
        return str(value)

    return _option(default, read, type="string", enum=list(choices))


def _text(default: str) -> Any:
    def read(value: object) -> str:
        if not isinstance(value, str):
            raise ConfigError("must be a string")
        return value.strip()

    return _option(default, read, type="string")


def _model(default: str) -> Any:
    def read(value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ConfigError("must be the name of a model or a folder; nano is the bundled one")
        return value.strip()

    return _option(default, read, type="string")


def _url() -> Any:
    def read(value: object) -> str:
        text = value.strip() if isinstance(value, str) else None
        if text is None or (text and not text.startswith(("http://", "https://"))):
            raise ConfigError("must be an address such as http://localhost:8000, or empty")
        return text.rstrip("/").removesuffix("/v1")

    return _option("", read, type="string")


def _device_map() -> Any:
    def read(value: object) -> str:
        if not isinstance(value, str):
            raise ConfigError("must be a string")
        EngineConfig(device_map=value.strip())
        return value.strip()

    return _option("auto", read, type="string")


def _size(default: str) -> Any:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ConfigError("must be a size such as 512MiB or a number of bytes")
        return parse_bytes(value)

    made = _option(parse_bytes(default), read, type=["string", "integer"])
    made.metadata["schema"]["default"] = default
    return made


def _max_memory() -> Any:
    def read(value: object) -> dict[str, int]:
        if isinstance(value, dict):
            value = ",".join(f"{device}={size}" for device, size in value.items())
        if not isinstance(value, str):
            raise ConfigError("must be written as 0=20GiB,cpu=16GiB")
        return parse_max_memory(value)

    made = _option({}, read, type=["string", "object"])
    made.metadata["schema"]["default"] = ""
    return made


def _languages() -> Any:
    def read(value: object) -> dict[str, bool]:
        good = isinstance(value, dict) and all(isinstance(v, bool) for v in value.values())
        if not good:
            raise ConfigError('must map language ids to true or false, as {"*": true, "markdown": false}')
        return {"*": True} | {str(k): bool(v) for k, v in value.items()}  # type: ignore[attr-defined]

    return _option({"*": True}, read, type="object", additionalProperties={"type": "boolean"})


@dataclass(frozen=True)
class Options:
    """All settings; JSON names are in camel case."""

    enabled: bool = _flag(True)
    """Give suggestions. Off, nothing is answered and no engine is started."""
    inline: bool = _flag(True)
    """Answer requests for ghost text (`textDocument/inlineCompletion`)."""
    menu: bool = _flag(True)
    """Offer suggestions in the completion menu (`textDocument/completion`)."""
    write_body: bool = _flag(True)
    """Offer the code action *Write the body* on functions with a docstring and on comments."""
    languages: Mapping[str, bool] = _languages()
    """Language ids to serve or leave alone; `*` is every language that is not named."""
    max_file_size: int = _size("1MiB")
    """Leave files alone that are larger than this."""
    candidates: int = _integer(3, 1, 10)
    """Suggestions to decode for one request; an editor can cycle through them."""
    max_tokens_line: int = _integer(40, 1, 512)
    """Tokens at most of a suggestion for the rest of a line."""
    max_tokens_block: int = _integer(128, 1, 1024)
    """Tokens at most of a suggestion of several lines."""
    max_tokens_body: int = _integer(384, 16, 1536)
    """Tokens at most that *Write the body* may write."""
    multiline: str = _choice("auto", "auto", "never", "always")
    """Suggest blocks of several lines: where the place asks for one, never, or always."""
    min_confidence: float = _number(0.35, 0.0, 1.0)
    """Show a suggestion from this mean probability of its tokens upwards (waived when it was asked for by hand)."""
    debounce: int = _integer(0, 0, 5000)
    """Milliseconds to wait for the next keystroke before the model is asked."""
    temperature: float = _number(0.0, 0.0, 2.0)
    """0 takes the likeliest tokens; more draws more freely. A server that can't branch draws at 0.4 instead of 0."""
    top_p: float = _number(0.95, 0.01, 1.0)
    """Draw from the fewest tokens whose probability reaches this; without effect at temperature 0."""
    suffix_ranking: bool = _flag(True)
    """Rank suggestions also by how likely they make the text after the cursor; costs a short second request."""
    warm: bool = _flag(True)
    """Read a file into the model's cache when it is opened, focused or changed above the cursor."""
    timeout: int = _integer(60, 1, 3600)
    """Seconds without a word from the engine after which a request is given up."""
    model: str = _model("nano")
    """nano, a CodeGen name from 350M-mono to 16B-nl, a name on the Hugging Face hub, or a folder."""
    revision: str = _text("")
    """Branch, tag or commit on the hub; empty takes the newest."""
    dtype: str = _choice("auto", *DTYPES)
    """Number format of the weights; auto takes bfloat16 where the hardware computes in it."""
    device_map: str = _device_map()
    """Where layers go: auto, balanced, balanced_low_0, sequential, cpu, cuda:0, or a JSON file."""
    max_memory: Mapping[str, int] = _max_memory()
    """Memory that each device may hold of the weights, as `0=20GiB,cpu=16GiB`."""
    offload_folder: str = _text("")
    """Folder for the layers that fit in no device's memory."""
    prefix_cache: int = _size("1GiB")
    """Memory for what the model has already read."""
    threads: int = _integer(0, 0, 1024)
    """Processor threads of the engine; 0 leaves it to torch."""
    allow_pickle: bool = _flag(False)
    """Load checkpoints that are pickles; these can run code, so only from a source that you trust."""
    idle_timeout: int = _integer(900, 0, 7 * 86400)
    """Seconds without requests after which the engine leaves and frees its memory; 0 keeps it."""
    server: str = _url()
    """Address of a completions server to use instead of an engine on this machine; your code is sent there."""
    token: str = _text("")
    """Bearer token for that server; empty takes the environment's CODEGEN_LSP_TOKEN."""
    log_level: str = _choice("warning", "error", "warning", "info", "debug")
    """How much the language server writes to its log (standard error)."""

    def serves(self, language: str) -> bool:
        """Whether suggestions are wanted in this language."""
        return self.languages.get(language, self.languages.get("*", True))

    def bearer(self) -> str:
        """The token to send, empty for none."""
        return self.token or os.environ.get("CODEGEN_LSP_TOKEN", "")

    def engine_config(self) -> EngineConfig:
        """The configuration of the local engine that serves these options; folders are made absolute."""
        return EngineConfig(
            model=_absolute(self.model),
            revision=self.revision or None,
            dtype=self.dtype,
            device_map=_absolute(self.device_map) if self.device_map.endswith(".json") else self.device_map,
            max_memory=dict(self.max_memory),
            offload_folder=_absolute(self.offload_folder, always=True) if self.offload_folder else None,
            prefix_cache=self.prefix_cache,
            threads=self.threads,
            allow_pickle=self.allow_pickle,
        )


def _absolute(name: str, *, always: bool = False) -> str:
    path = Path(name).expanduser()
    looks_local = always or name.startswith((".", "~")) or path.is_absolute() or name.endswith(".json")
    # A bare name such as `nano` means the model, even where a folder happens to be called so.
    return str(path.resolve()) if looks_local else name


def json_name(name: str) -> str:
    """`max_file_size` is `maxFileSize` in JSON."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


_BY_JSON = {json_name(f.name): f for f in fields(Options)}


def parse(settings: object, base: Options | None = None) -> tuple[Options, tuple[str, ...]]:
    """The options after `settings` have been laid over `base`, and a sentence for each thing that was wrong.

    A key that is absent keeps what `base` has; null, or a bad value, gives the default.
    """
    base = base or Options()
    if settings is None:
        return base, ()
    if not isinstance(settings, dict):
        return base, (f"The settings must be an object, not {_describe(settings)}; they are ignored.",)
    nested = settings.get(SECTION)
    if isinstance(nested, dict):
        settings = {k: v for k, v in settings.items() if k != SECTION} | nested
    problems: list[str] = []
    values: dict[str, Any] = {}
    default = Options()
    for key, value in settings.items():
        if key in IGNORED:
            continue
        known = _BY_JSON.get(key)
        if known is None:
            problems.append(_unknown(key))
            continue
        values[known.name] = getattr(default, known.name)
        if value is None:
            continue
        try:
            values[known.name] = known.metadata["read"](value)
        except ConfigError as error:
            problems.append(_bad(key, value, known.name, error))
    return replace(base, **values), tuple(problems)


def _bad(key: str, value: object, name: str, error: Exception) -> str:
    schema = _schema(name)
    shown = "<hidden>" if key == "token" else _describe(value)
    return (
        f"Setting {SECTION}.{key}: {str(error).rstrip('.')}; "
        f"it is {shown}, so the default {schema['default']!r} is used."
    )


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(str(key), list(_BY_JSON), n=1, cutoff=0.5)
    hint = f"; did you mean {SECTION}.{near[0]}?" if near else "."
    return f"Setting {SECTION}.{str(key)[:60]} is not known{hint}"


def _schema(name: str) -> dict[str, Any]:
    default = getattr(Options(), name)
    schema: dict[str, Any] = _BY_JSON[json_name(name)].metadata["schema"]
    return {"default": default} | schema


def describe() -> list[dict[str, Any]]:
    """Every option as documentation needs it: `name`, `description`, and a JSON schema's `type`, `default`, ...

    Read from this file's own source, where each field is described by the string below it.
    """
    body = next(
        node
        for node in ast.parse(inspect.getsource(inspect.getmodule(Options) or Options)).body
        if isinstance(node, ast.ClassDef) and node.name == "Options"
    ).body
    texts: dict[str, str] = {}
    for statement, following in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            target, value = statement.target, following.value
            if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
                texts[target.id] = " ".join(str(value.value).split())
    return [
        {"name": json_name(f.name), "description": texts[f.name]} | _schema(f.name) for f in fields(Options)
    ]
