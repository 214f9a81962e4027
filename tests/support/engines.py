"""Finds and ends the engine processes that a test started."""

from __future__ import annotations

from pathlib import Path

import psutil


def engines_in(folder: Path) -> list[psutil.Process]:
    """The engine processes whose socket lies in a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "serve" in words and any(str(folder) in word for word in words):
            found.append(process)
    return found


def stop_engines(folder: Path, seconds: float = 20) -> None:
    """End them, politely first."""
    processes = engines_in(folder)
    for process in processes:
        process.terminate()
    _, alive = psutil.wait_procs(processes, seconds)
    for process in alive:
        process.kill()
