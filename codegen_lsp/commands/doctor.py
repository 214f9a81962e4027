"""`codegen-lsp doctor`: say what this machine can run, and what is wrong with it.

Every check is one function that yields findings. Checks change nothing and use no network.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from codegen_lsp.commands.options import AsJson, with_options
from codegen_lsp.commands.terminal import console, say_json, styled
from codegen_lsp.cores import core_count
from codegen_lsp.wire import extras
from codegen_lsp.wire.child_process import NEUTRAL_FOLDER

if TYPE_CHECKING:
    import torch

    from codegen_lsp.wire.answers import Health

Severity = Literal["ok", "note", "wrong"]

GIB = 2**30
NEEDED = ("pygls", "lsprotocol", "httpx", "tree-sitter", "cachetools")
ENGINE_NEEDED = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "llvmlite")
SIZES = {"350M": 0.66, "2B": 5.2, "6B": 13.2, "16B": 29.9}
"""GiB of 16-bit weights by size; `codegen-lsp models plan NAME` gives exact figures."""


@dataclass(frozen=True)
class Finding:
    """One result of a check, with advice if something is wrong."""

    level: Severity
    what: str
    seen: str
    advice: str = ""


def examine(model: str = "nano") -> list[Finding]:
    """Return every finding, from the general to the particular; `model` is checked too."""
    engine: tuple[Callable[[], Iterator[Finding]], ...] = (
        _engine_packages,
        _number_formats,
        _gpus,
        _models,
        _recommended,
        lambda: _checkpoint(model),
    )
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _packages,
        _processor,
        _memory,
        *((_engine_extra,) if extras.missing("engine") else engine),
        _disk,
        _runtime,
        _engines,
        _editors,
    )
    findings: list[Finding] = []
    for check in checks:
        try:
            findings.extend(check())
        except Exception as error:
            # A check that breaks is a finding too; the other checks still help.
            name = model if check.__name__ == "<lambda>" else check.__name__.strip("_")
            findings.append(Finding("wrong", name, f"could not be checked: {error}"))
    return findings


def _python() -> Iterator[Finding]:
    seen = f"{platform.python_version()} at {sys.executable}"
    yield Finding("ok", "Python", seen)


def _packages() -> Iterator[Finding]:
    yield from _versions(NEEDED)


def _engine_packages() -> Iterator[Finding]:
    yield from _versions(ENGINE_NEEDED)


def _engine_extra() -> Iterator[Finding]:
    names = ", ".join(extras.missing("engine"))
    advice = f"name a server in the editor's settings, or run: {extras.install_command('engine')}"
    yield Finding(
        "note", "engine extra", f"not installed ({names}); models can't run on this machine", advice
    )


def _versions(names: Sequence[str]) -> Iterator[Finding]:
    for name in names:
        try:
            yield Finding("ok", name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding("wrong", name, "not installed", f"run: {sys.executable} -m pip install {name}")


def _processor() -> Iterator[Finding]:
    yield Finding("ok", "processor", f"{platform.machine()}, {core_count()} cores")


def _number_formats() -> Iterator[Finding]:
    import torch

    from codegen_lsp.engine.checkpoints.placement import pick_dtype
    from codegen_lsp.wire.config import EngineConfig

    if pick_dtype(EngineConfig(device_map="cpu")) is torch.bfloat16:
        yield Finding("ok", "bfloat16", "computed by the processor; dtype auto takes it")
    else:
        yield Finding("note", "bfloat16", "not computed by the processor; dtype auto takes float32")
    yield _quantized(pick_dtype(EngineConfig(device_map="cpu")))


def _quantized(dtype: torch.dtype) -> Finding:
    """Say whether `quantize: auto` takes int8 on the processor, and why."""
    from codegen_lsp.engine.quantized.choice import LEAST, processor_choice
    from codegen_lsp.engine.quantized.product_kernels import amx
    from codegen_lsp.engine.quantized.writer import instructions

    choice = processor_choice(dtype)
    if choice.format is None:
        return Finding("note", "int8 weights", f"not taken by quantize auto: {choice.reason}")
    seen = f"taken by quantize auto above {LEAST / 1e6:.0f} million parameters: {choice.reason}"
    units = f"{instructions()} and AMX" if amx.is_usable() else instructions()
    return Finding("ok", "int8 weights", f"{seen}, with kernels for {units}; on a GPU auto takes 16 bits")


def _memory() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    level: Severity = "ok" if memory.available > 2 * GIB else "note"
    advice = "" if level == "ok" else "close other programs, or use nano with a small --prefix-cache"
    seen = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    yield Finding(level, "memory", seen, advice)


def _gpus() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        yield Finding("note", "GPU", "none that torch can use; models run on the processor")
        return
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        yield Finding("ok", f"GPU {index}", f"{name}, {free / GIB:.1f} of {total / GIB:.1f} GiB free")
    yield _gpu_steps()


def _gpu_steps() -> Finding:
    """Say what a GPU runs, after a few products with int8 weights on it."""
    import torch

    from codegen_lsp.engine.architectures import OWN_NAMES
    from codegen_lsp.engine.checkpoints.placement import pick_dtype
    from codegen_lsp.engine.quantized.gpu.products import why_not
    from codegen_lsp.wire.config import EngineConfig

    dtype = str(pick_dtype(EngineConfig())).removeprefix("torch.")
    reason = why_not(torch.device("cuda:0"))
    int8 = (
        "by kernels"
        if reason is None
        else f"dequantized for each product, because the kernels can't be used ({reason})"
    )
    seen = (
        f"{OWN_NAMES} models in {dtype}, with CUDA graphs if they are whole on one GPU; int8 weights {int8}"
    )
    return Finding("ok" if reason is None else "note", "GPU steps", seen)


def _models() -> Iterator[Finding]:
    import psutil
    import torch

    memory = psutil.virtual_memory().available
    devices = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    gpu = sum(torch.cuda.mem_get_info(i)[0] for i in devices)
    for size, gib in SIZES.items():
        need = gib * GIB * 1.1
        if need < gpu:
            yield Finding("ok", f"CodeGen {size}", "fits on the GPU")
        elif need < memory + gpu:
            where = "GPU and memory together" if gpu else "memory; on the processor"
            advice = "" if size == "350M" else "suggestions will take seconds"
            yield Finding("ok" if size == "350M" else "note", f"CodeGen {size}", f"fits in {where}", advice)
        else:
            advice = f"layers would go to the disk; see: codegen-lsp models plan {size}-mono"
            yield Finding("note", f"CodeGen {size}", "does not fit in memory", advice)


def _recommended() -> Iterator[Finding]:
    from codegen_lsp.engine.advice import recommend
    from codegen_lsp.engine.advice.machine import measure

    chosen = recommend.best(recommend.advise(measure()))
    if chosen is None:
        yield Finding(
            "note", "model to take", "none fits into the memory that is free", "close other programs"
        )
    else:
        advice = "" if chosen.in_time else "suggestions will come late; a server would be faster"
        yield Finding("ok", "model to take", recommend.sentence(chosen), advice)


def _checkpoint(model: str) -> Iterator[Finding]:
    from codegen_lsp.engine.checkpoints import fill_verdicts, hub, locate
    from codegen_lsp.engine.checkpoints.sources import gguf
    from codegen_lsp.engine.checkpoints.tokenizer import check_tokenizer
    from codegen_lsp.wire.errors import CodegenError

    try:
        checkpoint = locate.resolve(model)
        if checkpoint.kind == "hub" and not hub.offline() and hub.cached(checkpoint) is None:
            advice = f"run: codegen-lsp models pull {checkpoint.name}"
            yield Finding("note", model, "not on this machine yet; its first use downloads it", advice)
            return
        if checkpoint.kind == "gguf":
            gguf.check_file(Path(checkpoint.source))
            yield Finding(
                "ok",
                model,
                f"a GGUF file; its first use unpacks it to {gguf.folder_of(Path(checkpoint.source))}",
            )
            return
        folder = locate.locate(checkpoint)
        check_tokenizer(folder)
    except CodegenError as error:
        yield Finding("wrong", model, str(error))
        return
    seen = "the bundled model is installed" if checkpoint.kind == "bundled" else f"complete, in {folder}"
    yield Finding("ok", model, seen)
    fill = fill_verdicts.described(folder)
    yield Finding("ok", "fill-in-the-middle", fill or "not measured, or the model has no tokens for it")


def _disk() -> Iterator[Finding]:
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    existing = next(p for p in (cache, *cache.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    advice = "" if free > 2 * GIB else "free some space, or set HF_HOME to another disk"
    yield Finding(
        "ok" if free > 2 * GIB else "note", "disk", f"{free / GIB:.0f} GiB free for {cache}", advice
    )
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        yield Finding("note", "hub", "HF_HUB_OFFLINE is set: only downloaded models and folders load")


def _runtime() -> Iterator[Finding]:
    from codegen_lsp.wire.config import EngineConfig, runtime_dir, socket_path

    folder = runtime_dir()
    length = len(os.fsencode(socket_path(EngineConfig())))
    if length > 103:
        advice = "set CODEGEN_LSP_RUNTIME_DIR to a folder with a shorter path"
        yield Finding("wrong", "sockets", f"{folder} is too long for a unix socket", advice)
    elif not os.access(folder, os.W_OK):
        advice = "set CODEGEN_LSP_RUNTIME_DIR to a writable folder"
        yield Finding("wrong", "sockets", f"{folder} is not writable", advice)
    else:
        yield Finding("ok", "sockets", str(folder))


def _engines() -> Iterator[Finding]:
    import httpx

    from codegen_lsp.wire.config import runtime_dir
    from codegen_lsp.wire.decoding import health_from_json
    from codegen_lsp.wire.transport.http import listens, socket_client

    def health_of(socket: Path) -> Health | None:
        if not listens(socket):
            return None
        try:
            with socket_client(socket, timeout=3) as client:
                return health_from_json(client.get("/health").json())
        except (httpx.HTTPError, ValueError):
            return None

    for socket in sorted(runtime_dir().glob("*.sock")):
        health = health_of(socket)
        if health is None:
            yield Finding("note", "engine", f"{socket.name}: no answer; the next start replaces the socket")
            continue
        level: Severity = "wrong" if health.state == "error" else "ok"
        weights = f" in {health.weights}" if health.weights else ""
        seen = f"{health.model} is {health.state}{weights} (process {health.pid})"
        yield Finding(level, "engine", seen, health.message)


def _editors() -> Iterator[Finding]:
    for name, command in (("Neovim", "nvim"), ("Emacs", "emacs"), ("VS Code", "code")):
        path = shutil.which(command)
        if path is None:
            continue
        try:
            # A PATH with "." in it finds programs of the folder that the user is in, which may be a cloned repository.
            done = subprocess.run(
                [path, "--version"],
                cwd=NEUTRAL_FOLDER,
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            yield Finding("note", name, f"{path} does not answer --version")
            continue
        yield Finding("ok", name, (done.stdout.splitlines() or [path])[0])


@with_options
def doctor(
    model: Annotated[str, typer.Option(help="A model to check too: a name or a folder.")] = "nano",
    as_json: AsJson = False,
) -> None:
    """Say what this machine can run, and what is wrong; exit code 1 if something is."""
    findings = examine(model)
    if as_json:
        say_json([asdict(finding) for finding in findings], indent=2)
    else:
        _print_table(findings)
    if any(finding.level == "wrong" for finding in findings):
        raise typer.Exit(1)


def _print_table(findings: Sequence[Finding]) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 1))
    styles = {"ok": "green", "note": "yellow", "wrong": "bold red"}
    for finding in findings:
        seen = finding.seen + (f"\n→ {finding.advice}" if finding.advice else "")
        table.add_row(styled(finding.level, styles[finding.level]), styled(finding.what), styled(seen))
    console().print(table)
