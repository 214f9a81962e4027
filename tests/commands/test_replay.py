"""The typing replay as a person runs it: the real command, language server and engine, on a short file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.engines import engines_in, stop_engines
from support.samples import CIRCLE

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
FILE = f"""{CIRCLE}

class Square:
    def __init__(self, side: float) -> None:
        self.side = side

    def area(self) -> float:
        return self.side * self.side
"""


def command(out: Path, *files: Path) -> list[str]:
    small = ["--characters", "25", "--gaps", "1", "--seed", "3", "--out", str(out), "--json"]
    return [sys.executable, "-m", "codegen_lsp", "eval", "replay", *map(str, files), *small]


@pytest.fixture
def runtime() -> Iterator[Path]:
    """Where sockets go: a short path, for theirs may not be long; and the engines that a killed command leaves."""
    folder = Path(tempfile.mkdtemp(prefix="replay-"))
    yield folder
    stop_engines(folder)
    shutil.rmtree(folder)


def environment(runtime: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(runtime)}


def run(runtime: Path, out: Path, *files: Path) -> dict[str, Any]:
    done = subprocess.run(
        command(out, *files),
        env=environment(runtime),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tallies(out: Path) -> list[dict[str, Any]]:
    """What was typed, accepted and pressed; how long it took is another matter."""
    lines = (out / "files.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [{k: v for k, v in r["tally"].items() if k != "latencies"} for r in records]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "shapes.py", tmp_path / "formen_é.py"
    first.write_text(FILE, encoding="utf-8")
    second.write_text(FILE.replace("Square", "Quadrat").replace("side", "größe"), encoding="utf-8")
    return first, second


@pytest.mark.timeout(600)
def test_replay_types_a_file_and_reports_it(tmp_path: Path, runtime: Path, files: tuple[Path, Path]) -> None:
    out = tmp_path / "out"
    data = run(runtime, out, *files)
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == data
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.md").read_text(encoding="utf-8")
    assert page.startswith("# Typing replay: nano\n")
    assert data["files"] == len(data["by_file"]) == 2
    assert data["baseline"] >= 40
    assert data["keystrokes_saved"] == pytest.approx(
        (data["baseline"] - data["pressed"]) / data["baseline"], abs=1e-4
    )
    assert data["accepted"] <= data["shown"] <= data["asked"]
    assert data["late"] == 0
    latency = data["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    assert 0 < data["cache_hit_rate"] < 1
    assert data["prefilled_per_keystroke"] > 0
    for name, value in data["by_file"].items():
        assert f"| {name} |" in page
        assert value["asked"] > 0
    for tally in tallies(out):
        assert tally["asked"] == tally["pressed"] + tally["typos"]
    # It was told to stop and has stopped answering; its process may take a moment more to end.
    _, left = psutil.wait_procs(engines_in(runtime), timeout=20)
    assert left == []
    assert list(runtime.glob("codegen-*")) == []  # torch and others may keep folders of their own


@pytest.mark.timeout(900)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_replay_stopped_between_files_goes_on_to_the_same_keys(
    tmp_path: Path, runtime: Path, files: tuple[Path, Path], signum: signal.Signals
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    second = files[1]
    second.write_text(second.read_text(encoding="utf-8") * 3, encoding="utf-8")  # not over before the signal
    run(runtime, whole, *files)
    process = subprocess.Popen(
        command(parts, *files),
        env=environment(runtime),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log, deadline = parts / "files.jsonl", time.monotonic() + 280
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.read_bytes().count(b"\n"):
            break
        time.sleep(0.02)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=120)
    stop_engines(runtime)
    assert "Traceback" not in errors
    finished = tallies(parts)
    assert len(finished) == 1
    run(runtime, parts, *files)
    assert tallies(parts)[:1] == finished
    assert [(t["path"], t["baseline"], t["pressed"], t["accepted"], t["typos"]) for t in tallies(parts)] == [
        (t["path"], t["baseline"], t["pressed"], t["accepted"], t["typos"]) for t in tallies(whole)
    ]
