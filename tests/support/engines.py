"""Finds and ends the processes that a test started, those of the engine above all."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import psutil


def engines_in(folder: Path) -> list[psutil.Process]:
    """The engine processes whose socket lies in a folder, without the parents that keep them."""
    processes = engine_processes(folder)
    parents = {process.info["ppid"] for process in processes}
    return [process for process in processes if process.pid not in parents]


def engine_processes(folder: Path) -> list[psutil.Process]:
    """The processes of the engines whose socket lies in a folder: each engine, and the parent that keeps it."""
    processes = []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        words = process.info["cmdline"] or []
        if "serve" in words and any(str(folder) in word for word in words):
            processes.append(process)
    return processes


def stop(process: subprocess.Popen[Any], seconds: float = 30) -> None:
    """End a process, politely first, and wait for it."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def stop_engines(folder: Path, seconds: float = 20) -> None:
    """End them, politely first."""
    processes = engine_processes(folder)
    for process in processes:
        process.terminate()
    _, alive = psutil.wait_procs(processes, seconds)
    for process in alive:
        process.kill()
