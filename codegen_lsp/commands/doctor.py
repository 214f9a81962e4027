"""`codegen-lsp doctor`: what this machine can run, and what is wrong with it.

Knows how to look at the machine; every check is one function that gives findings. Looks, changes nothing, and
reaches no network.
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
from typing import Any, Literal

from codegen_lsp.wire import extras

Severity = Literal["ok", "note", "wrong"]

GIB = 2**30
NEEDED = ("pygls", "lsprotocol", "httpx", "tree-sitter", "cachetools")
ENGINE_NEEDED = ("torch", "transformers", "accelerate", "tokenizers", "safetensors")
SIZES = {"350M": 0.66, "2B": 5.2, "6B": 13.2, "16B": 29.9}
"""GiB of 16-bit weights by size (`codegen-lsp models plan NAME` gives them exactly)."""


@dataclass(frozen=True)
class Finding:
    """One thing seen, and what to do about it where it is wrong."""

    level: Severity
    what: str
    seen: str
    advice: str = ""


def examine(model: str = "nano") -> list[Finding]:
    """Every finding, in the order a person would ask; `model` is the one that is wanted."""
    engine: tuple[Callable[[], Iterator[Finding]], ...] = (
        _engine_packages,
        _number_formats,
        _gpus,
        _models,
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
            # A check that breaks is itself a finding; the others still help.
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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("ok", "processor", f"{platform.machine()}, {cores} cores")


def _number_formats() -> Iterator[Finding]:
    import torch

    from codegen_lsp.engine.checkpoints.placement import pick_dtype
    from codegen_lsp.wire.config import EngineConfig

    if pick_dtype(EngineConfig(device_map="cpu")) is torch.bfloat16:
        yield Finding("ok", "bfloat16", "computed by the processor; dtype auto takes it")
    else:
        yield Finding("note", "bfloat16", "not computed by the processor; dtype auto takes float32")


def _memory() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    level: Severity = "ok" if memory.available > 2 * GIB else "note"
    advice = "" if level == "ok" else "close something, or keep to nano and a small --prefix-cache"
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


def _checkpoint(model: str) -> Iterator[Finding]:
    from codegen_lsp.engine.checkpoints import hub, locate
    from codegen_lsp.wire.errors import CodegenError

    try:
        checkpoint = locate.resolve(model)
        if checkpoint.kind == "hub" and not hub.offline() and hub.cached(checkpoint) is None:
            advice = f"run: codegen-lsp models pull {checkpoint.name}"
            yield Finding("note", model, "not on this machine yet; its first use downloads it", advice)
            return
        folder = locate.locate(checkpoint)
    except CodegenError as error:
        yield Finding("wrong", model, str(error))
        return
    seen = "the bundled model is there" if checkpoint.kind == "bundled" else f"whole, in {folder}"
    yield Finding("ok", model, seen)


def _disk() -> Iterator[Finding]:
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    existing = next(p for p in (cache, *cache.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    advice = "" if free > 2 * GIB else "make room, or set HF_HOME to another disk"
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
        advice = "set CODEGEN_LSP_RUNTIME_DIR to a folder that you can write"
        yield Finding("wrong", "sockets", f"{folder} can't be written", advice)
    else:
        yield Finding("ok", "sockets", str(folder))


def _engines() -> Iterator[Finding]:
    import httpx

    from codegen_lsp.wire.answers import Health
    from codegen_lsp.wire.config import runtime_dir

    for socket in sorted(runtime_dir().glob("*.sock")):
        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), timeout=3) as client:
                health = Health.from_json(client.get("http://engine/health").json())
        except (httpx.HTTPError, ValueError):
            yield Finding("note", "engine", f"{socket.name}: nobody answers; the next start takes it over")
            continue
        level: Severity = "wrong" if health.state == "error" else "ok"
        yield Finding(
            level, "engine", f"{health.model} is {health.state} (process {health.pid})", health.message
        )


def _editors() -> Iterator[Finding]:
    for name, command in (("Neovim", "nvim"), ("Emacs", "emacs"), ("VS Code", "code")):
        path = shutil.which(command)
        if path is None:
            continue
        try:
            done = subprocess.run(
                [path, "--version"], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            yield Finding("note", name, f"{path} does not answer --version")
            continue
        yield Finding("ok", name, (done.stdout.splitlines() or [path])[0])


def run(model: str, *, as_json: bool) -> None:
    """Print the findings; exit code 1 where something is wrong."""
    import json

    from rich.console import Console
    from rich.table import Table

    findings = examine(model)
    console = Console(highlight=False)
    if as_json:
        report: list[dict[str, Any]] = [asdict(f) for f in findings]
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        table = Table(show_header=False, box=None, padding=(0, 1))
        styles = {"ok": "green", "note": "yellow", "wrong": "bold red"}
        for finding in findings:
            seen = finding.seen + (f"\n→ {finding.advice}" if finding.advice else "")
            table.add_row(f"[{styles[finding.level]}]{finding.level}[/]", finding.what, seen)
        console.print(table)
    if any(f.level == "wrong" for f in findings):
        sys.exit(1)
