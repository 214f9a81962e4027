"""vLLM in an environment of its own, which deploy/install_vllm.sh makes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

VARIABLE = "CODEGEN_LSP_VLLM"
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
START_SECONDS = 300


def python() -> str:
    """The Python of the environment with vLLM; skips the test where there is none."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} does not name an environment with vLLM (deploy/install_vllm.sh makes one)")
    return str(Path(folder, "bin", "python"))


def run(*arguments: str) -> None:
    """Run a command of this package."""
    command = [sys.executable, "-m", "codegen_lsp", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=280)


def exported(model: str, folder: Path) -> Path:
    """A CodeGen model as a Phi folder."""
    run("models", "export", model, "--to", "phi", str(folder))
    return folder


@contextmanager
def serving(model: Path, log: Path, name: str = "") -> Iterator[str]:
    """vLLM with a model on a free port of this machine; yields its address, and ends all of its processes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [python(), "-P", "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", name or model.name, "--enforce-eager", "--host", "127.0.0.1"]
    command += ["--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=os.environ | ENVIRONMENT, cwd=log.parent, stdout=output, stderr=output
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process, log)
        yield url
    finally:
        stop(process.pid)
        process.wait(60)


def stop(pid: int) -> None:
    """End a process and its children, politely first."""
    processes = psutil.Process(pid).children(recursive=True) if psutil.pid_exists(pid) else []
    processes += [psutil.Process(pid)] if psutil.pid_exists(pid) else []
    for process in reversed(processes):
        process.terminate()
    for process in psutil.wait_procs(processes, 30)[1]:
        process.kill()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                # The first request compiles and takes many times as long as the next ones.
                body = {"prompt": "def f(", "max_tokens": 2, "temperature": 0}
                assert httpx.post(f"{url}/v1/completions", json=body, timeout=120).status_code == 200
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"vLLM did not start: {log.read_text(errors='replace')[-2000:]}")
