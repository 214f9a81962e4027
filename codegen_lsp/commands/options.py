"""Options that several commands share, and `with_options`, which lets a command take them as one object.

typer reads a command's parameters from its signature. Options that belong together are a frozen dataclass here, and
`with_options` shows typer one parameter for each field.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from codegen_lsp.wire.config import EngineConfig

ModelName = Annotated[
    str, typer.Option(help="nano, 350M-mono ... 16B-nl, a hub name (owner/name), a folder, or a GGUF file.")
]
ServerOption = Annotated[
    str | None, typer.Option(help="URL of a completions server to use instead of this machine's engine.")
]
TokenOption = Annotated[
    str | None, typer.Option(envvar="CODEGEN_LSP_TOKEN", help="Bearer token of that server.")
]
RevisionOption = Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")]
DtypeOption = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
QuantizeOption = Annotated[
    str, typer.Option(help="auto, none, int8 or int4: the number format of the weights in memory.")
]
DeviceMapOption = Annotated[
    str, typer.Option(help="auto, balanced, balanced_low_0, sequential, cpu, cuda:N, or a JSON file.")
]
MaxMemoryOption = Annotated[str, typer.Option(help="Maximum bytes for each device, as 0=20GiB,cpu=16GiB.")]
OffloadFolderOption = Annotated[str | None, typer.Option(help="Folder for layers that fit in no memory.")]
Context = Annotated[
    int, typer.Option(help="Maximum number of tokens of prompt and completion; 0 for the model's own limit.")
]
Threads = Annotated[int, typer.Option(help="Number of processor threads; 0 lets torch decide.")]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Load pickled checkpoints, which can run code.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Layer = Annotated[int, typer.Option(help="0 for the embedding table, n for layer n, -1 for the last layer.")]
Pooling = Annotated[str, typer.Option(help="last (token) or mean (of all tokens).")]
Seed = Annotated[int, typer.Option(help="The same seed draws the same samples.")]


@dataclass(frozen=True)
class EngineChoice:
    """Which engine answers: this machine's for a model, or a server."""

    model: ModelName = "nano"
    server: ServerOption = None
    token: TokenOption = None


@dataclass(frozen=True)
class LoadOptions:
    """How this machine loads a model."""

    model: ModelName = "nano"
    revision: RevisionOption = None
    dtype: DtypeOption = "auto"
    quantize: QuantizeOption = "auto"
    device_map: DeviceMapOption = "auto"
    max_memory: MaxMemoryOption = ""
    offload_folder: OffloadFolderOption = None
    threads: Threads = 0
    allow_pickle: AllowPickle = False

    def config(self, **more: Any) -> EngineConfig:
        """Return the configuration of an engine that loads the model so; see `engine_config`."""
        return engine_config(**vars(self), **more)


def engine_config(model: str, max_memory: str, prefix_cache: str | None = None, **more: Any) -> EngineConfig:
    """Return the configuration that options describe: sizes parsed, paths made absolute.

    Raises:
        ConfigError: the value of an option is not allowed.
    """
    from codegen_lsp.wire.config import (
        EngineConfig,
        expanded,
        parse_bytes,
        parse_cache_size,
        parse_max_memory,
    )

    for name in ("device_map", "offload_folder", "fim_format"):
        value = more.get(name)
        if value and (name == "offload_folder" or value.endswith(".json")):
            more[name] = str(expanded(value).absolute())
    if prefix_cache is not None:
        more["prefix_cache"] = parse_cache_size(prefix_cache)
    if "request_memory" in more:
        more["request_memory"] = parse_bytes(more["request_memory"])
    return EngineConfig(model=absolute(model), max_memory=parse_max_memory(max_memory), **more)


def absolute(model: str) -> str:
    """Return the absolute path of a model's folder or file, or its name: the engine runs in another folder."""
    from codegen_lsp.wire.config import expanded

    folder = expanded(model)
    return str(folder.resolve()) if folder.is_dir() or folder.is_file() else model


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with one parameter for each field of its dataclass parameters.

    `def score(file: str, engine: EngineChoice)` becomes `score(file, *, model="nano", server=None, token=None)`.
    Default values come from the dataclass; what typer knows of an option stands in the annotation of its field.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _parameters(groups[parameter.name])
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=_KEYWORD))

    def expanded(**values: Any) -> None:
        for name, kind in groups.items():
            names = {field.name for field in fields(kind)}
            values[name] = kind(**{key: values.pop(key) for key in names & values.keys()})
        command(**values)

    expanded.__name__, expanded.__doc__ = command.__name__, command.__doc__
    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _parameters(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(field.name, _KEYWORD, default=_default(field), annotation=hints[field.name])
        for field in fields(kind)
    ]


def _default(field: Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default
