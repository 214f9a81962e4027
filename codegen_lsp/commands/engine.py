"""The engine's commands: serve, generate, and what can be asked of models.

Knows flags and what is printed. Imports nothing heavy before it has to: `--help` is quick. Errors that a person
can act on (`CodegenError`) are left to the command line, which prints them as one sentence.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from codegen_lsp.wire.config import ConfigError, EngineConfig, parse_bytes, parse_max_memory, socket_path

ModelOption = Annotated[
    str, typer.Option(help="nano, 350M-mono ... 16B-nl, a hub name (owner/name), or a folder.")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
DeviceMapOption = Annotated[
    str, typer.Option(help="auto, balanced, balanced_low_0, sequential, cpu, cuda:N, or a JSON file.")
]
MaxMemory = Annotated[str, typer.Option(help="Bytes a device may hold, as 0=20GiB,cpu=16GiB.")]
OffloadFolder = Annotated[str | None, typer.Option(help="Where layers go that fit in no memory.")]
PrefixCacheOption = Annotated[str, typer.Option(help="Size of the prefix cache, as 1GiB; 0 for none.")]
Context = Annotated[int, typer.Option(help="Tokens of prompt and completion at most; 0: the model's own.")]
PrefillChunk = Annotated[int, typer.Option(help="Tokens of prompt that one step reads.")]
Threads = Annotated[int, typer.Option(help="Threads of the processor; 0 leaves it to torch.")]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Load pickled checkpoints, which can run code.")
]
MaxWaiting = Annotated[int, typer.Option(help="Requests that may wait before others are refused.")]
PREFIX_CACHE = "1GiB"
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def serve(
    model: ModelOption = "nano",
    revision: Revision = None,
    dtype: Dtype = "auto",
    device_map: DeviceMapOption = "auto",
    max_memory: MaxMemory = "",
    offload_folder: OffloadFolder = None,
    prefix_cache: PrefixCacheOption = PREFIX_CACHE,
    context: Context = 0,
    prefill_chunk: PrefillChunk = 256,
    threads: Threads = 0,
    allow_pickle: AllowPickle = False,
    max_waiting: MaxWaiting = 64,
    socket: Annotated[
        Path | None, typer.Option(help="Unix socket to listen on; one of its own without it.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Listen on this address instead, with a token.")] = None,
    port: Annotated[int, typer.Option(help="Port of --host; 0 takes a free one.", min=0, max=65535)] = 0,
    token: Annotated[
        str | None, typer.Option(envvar="CODEGEN_LSP_TOKEN", help="Bearer token to ask for.")
    ] = None,
    idle_timeout: Annotated[
        float, typer.Option(help="Leave after so many idle seconds; 0: never.", min=0)
    ] = 900,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve a model over HTTP, for any number of editors at once."""
    from codegen_lsp.engine.http.listeners import Address, AlreadyRunning
    from codegen_lsp.engine.http.serve import run

    config = _config(
        model,
        max_memory,
        prefix_cache,
        revision=revision,
        dtype=dtype,
        device_map=device_map,
        offload_folder=offload_folder,
        context=context,
        prefill_chunk=prefill_chunk,
        threads=threads,
        allow_pickle=allow_pickle,
        max_waiting=max_waiting,
    )
    _log_to_stderr(log_level)
    if host is not None and socket is not None:
        raise ConfigError("--socket and --host exclude each other")
    if host is None and port:
        host = "127.0.0.1"
    if host is not None:
        address = Address(host=host, port=port, token=token or None)
    else:
        address = Address(
            path=socket.expanduser().absolute() if socket else socket_path(config), token=token or None
        )
    try:
        run(config, address, idle_timeout)
    except AlreadyRunning as error:
        typer.echo(str(error))


def _config(model: str, max_memory: str, prefix_cache: str = PREFIX_CACHE, **others: Any) -> EngineConfig:
    """The configuration that flags ask for; sizes come as people write them, and paths from where they are.

    Raises:
        ConfigError: a flag's value can't be had.
    """
    for name in ("device_map", "offload_folder"):
        value = others.get(name)
        if value and (name == "offload_folder" or value.endswith(".json")):
            others[name] = str(Path(value).expanduser().absolute())
    return EngineConfig(
        model=_absolute(model),
        max_memory=parse_max_memory(max_memory),
        prefix_cache=parse_bytes(prefix_cache),
        **others,
    )


def _absolute(model: str) -> str:
    """A folder by its whole path, so that an engine is found again from another folder."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model


def _log_to_stderr(level: str) -> None:
    names = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
    if level.lower() not in names:
        raise ConfigError(f"log level {level!r} is none of {', '.join(names)}")
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=names[level.lower()], format=form, stream=sys.stderr, force=True)
    for noisy in ("httpx", "httpcore", "uvicorn.error", "urllib3", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def generate(
    prompt: Annotated[str, typer.Argument(help="Text to continue; - reads standard input.")],
    max_tokens: Annotated[int, typer.Option(help="Tokens to decode at most.", min=0)] = 128,
    temperature: Annotated[
        float, typer.Option(help="0 takes the likeliest token each time.", min=0, max=2)
    ] = 0.0,
    top_p: Annotated[
        float, typer.Option(help="Sample from the fewest tokens that reach this probability.")
    ] = 1.0,
    n: Annotated[int, typer.Option(help="Completions.", min=1, max=16)] = 1,
    stop: Annotated[
        list[str] | None, typer.Option(help="A string that ends the text; may be repeated.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Draw the same again.")] = None,
    model: ModelOption = "nano",
    revision: Revision = None,
    dtype: Dtype = "auto",
    device_map: DeviceMapOption = "auto",
    max_memory: MaxMemory = "",
    offload_folder: OffloadFolder = None,
    threads: Threads = 0,
    allow_pickle: AllowPickle = False,
    json_output: JsonOption = False,
) -> None:
    """Continue a text, and print it: the prompt, the completion, and nothing else."""
    from codegen_lsp.wire.parsing import parse_request

    config = _config(
        model,
        max_memory,
        revision=revision,
        dtype=dtype,
        device_map=device_map,
        offload_folder=offload_folder,
        threads=threads,
        allow_pickle=allow_pickle,
    )
    # Bytes that are no UTF-8 arrive as halves of surrogate pairs, which nothing can print.
    text = sys.stdin.buffer.read().decode(errors="replace") if prompt == "-" else prompt
    text = text.encode("utf-8", "surrogateescape").decode(errors="replace")
    body: dict[str, Any] = {
        "prompt": text,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "n": n,
        "stop": stop or None,
        "seed": seed,
    }
    request = parse_request(body)
    answer = _ask_running(config, request) or _ask_own(config, request)
    if json_output:
        typer.echo(json.dumps(answer.to_json(), ensure_ascii=False))
        return
    for number, choice in enumerate(answer.choices):
        if number:
            typer.echo("")
        typer.echo(text + choice.text)


def _ask_running(config: EngineConfig, request: Any) -> Any:
    """The answer of an engine that runs with this configuration and is ready; None without one."""
    import httpx

    from codegen_lsp.wire.answers import Completion, Health
    from codegen_lsp.wire.errors import error_from_json

    path = socket_path(config)
    if not path.exists():
        return None
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://engine") as client:
            if Health.from_json(client.get("/health", timeout=2).json()).state != "ready":
                return None
            response = client.post("/v1/completions", json=request.to_json(), timeout=None)
            body = response.json()
    except (httpx.HTTPError, ValueError):
        return None
    if response.status_code == 503:
        return None
    if response.status_code != 200:
        raise error_from_json(response.status_code, body)
    return Completion.from_json(body)


def _ask_own(config: EngineConfig, request: Any) -> Any:
    """Load the model into this process and answer."""
    from codegen_lsp.engine.http.serve import ENVIRONMENT

    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    from codegen_lsp.engine.one_shot import complete

    return complete(config, request)


def models_list(json_output: JsonOption = False) -> None:
    """List the models that can be named, and which of them are on this machine."""
    from codegen_lsp.engine.checkpoints.model_list import list_models

    entries = list_models()
    if json_output:
        typer.echo(json.dumps([entry.to_json() for entry in entries]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "on this machine", "source", box=None, pad_edge=False)
    for entry in entries:
        here = _size(entry.local_bytes) if entry.local_bytes is not None else "-"
        table.add_row(entry.name, here, entry.source)
    Console().print(table)


def models_pull(
    name: Annotated[str, typer.Argument(help="350M-mono ... 16B-nl, or owner/name on the hub.")],
    revision: Revision = None,
    allow_pickle: AllowPickle = False,
) -> None:
    """Download a checkpoint from the Hugging Face hub, once."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from codegen_lsp.engine.checkpoints import files, hub, locate
    from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError

    checkpoint = locate.resolve(name, revision)
    if checkpoint.kind != "hub":
        locate.locate(checkpoint, allow_pickle=allow_pickle)
        typer.echo(f"{name} is on this machine already")
        return
    folder = hub.cached(checkpoint, allow_pickle=allow_pickle)
    if folder is not None:
        typer.echo(f"{checkpoint.source} is on this machine already: {folder}")
        return
    if hub.offline():
        raise CheckpointError(
            f"HF_HUB_OFFLINE is set, so {checkpoint.source} can't be downloaded; unset it and try again"
        )
    folder = hub.pull(checkpoint, allow_pickle=allow_pickle)
    files.check(folder, allow_pickle=allow_pickle)
    typer.echo(str(folder))


def models_plan(
    name: Annotated[str, typer.Argument(help="nano, 350M-mono ... 16B-nl, owner/name, or a folder.")],
    revision: Revision = None,
    dtype: Dtype = "auto",
    device_map: DeviceMapOption = "auto",
    max_memory: MaxMemory = "",
    context: Context = 0,
    json_output: JsonOption = False,
) -> None:
    """Say which layers go where and how many bytes they take, without loading a weight."""
    config = _config(name, max_memory, revision=revision, dtype=dtype, device_map=device_map, context=context)
    from codegen_lsp.engine.checkpoints.plan import plan

    made = plan(config)
    if json_output:
        typer.echo(json.dumps(made.to_json()))
        return
    typer.echo(f"{made.model}: {made.parameters / 1e9:.3g} B parameters in {made.dtype}")
    for first, last, count, device in _runs(made.layers):
        span = first if first == last else f"{first} ... {last.rpartition('.')[2]} ({count} layers)"
        typer.echo(f"  {span} -> {device}")
    for device, size in made.device_bytes.items():
        typer.echo(f"{device}: {_size(size)} ({size} bytes)")
    kv = made.kv_bytes_per_token
    typer.echo(
        f"KV cache: {_size(kv)} per token ({kv} bytes), {_size(kv * made.context)} for {made.context} tokens"
    )
    if made.kv_running_bytes_per_token != kv:
        running = made.kv_running_bytes_per_token
        typer.echo(
            f"a request that runs: {_size(running)} per token ({running} bytes), in float32 while it runs"
        )
    typer.echo(f"process without weights: about {_size(made.process_bytes)}")
    if made.needs_offload:
        typer.echo("some layers fit in no memory: serve with --offload-folder, or give --max-memory more")


def _runs(layers: tuple[tuple[str, str], ...]) -> list[tuple[str, str, int, str]]:
    """Neighbouring layers of one list on one device, as one line: first, last, how many, device."""
    runs: list[tuple[str, str, int, str]] = []
    for name, device in layers:
        stem, _, number = name.rpartition(".")
        if runs and number.isdigit() and runs[-1][3] == device and runs[-1][1].rpartition(".")[0] == stem:
            first, _, count, _ = runs[-1]
            runs[-1] = (first, name, count + 1, device)
        else:
            runs.append((name, name, 1, device))
    return runs


def _size(count: int) -> str:
    """Bytes for a person."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.3g} GiB"


def models_synthesize(
    shape: Annotated[str, typer.Argument(help="350M, 2B, 6B or 16B.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "bfloat16",
    shard_size: Annotated[str, typer.Option(help="Largest shard.")] = "1GB",
) -> None:
    """Write a checkpoint of CodeGen's shape with random weights, for tests of speed and memory."""
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ConfigError(f"dtype {dtype!r} is none of float32, bfloat16, float16")
    shard_bytes = parse_bytes(shard_size)
    if shard_bytes < 1:
        raise ConfigError("the shard size must be above 0")
    import torch
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from codegen_lsp.engine.checkpoints.synthesize import synthesize

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    from rich.console import Console

    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"writing {shape}", total=None)
        folder = synthesize(
            shape,
            output.expanduser(),
            getattr(torch, dtype),
            shard_bytes,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(str(folder))
