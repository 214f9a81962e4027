"""Start and stop Ray on this machine: the node that holds a cluster's replicas if no other cluster is named.

Ray listens on loopback only and asks for a token that is made for this start. All of its processes are in one process
session, so that stopping it ends exactly these and no other Ray of this user. Does not import Ray.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from codegen_lsp.wire.child_process import NEUTRAL_FOLDER, safe_environment
from codegen_lsp.wire.errors import CodegenError
from codegen_lsp.wire.folders import log_dir, runtime_dir

FOLDER_BYTES = 30
"""Maximum length of Ray's folder: the paths of its sockets below it may have 107 bytes."""

PATIENCE = 20.0
"""Seconds that Ray's processes get to end by themselves."""


class ClusterError(CodegenError):
    """A cluster that does not start, answer or stop."""


@dataclass(frozen=True, slots=True)
class RayHead:
    """A running Ray of this machine, as the file in the runtime folder describes it."""

    pid: int
    started: float
    """Time at which the process started, in seconds since the epoch: another process may get its id."""
    dashboard: str
    """URL of Ray's dashboard, which deploys and describes applications."""
    token: str
    folder: str

    @property
    def processes(self) -> list[psutil.Process]:
        """All processes of this Ray that are running."""
        try:
            leader = psutil.Process(self.pid)
            if abs(leader.create_time() - self.started) > 2:
                return []
        except psutil.NoSuchProcess:
            pass  # the leader is gone: its children may not be
        return [process for process in psutil.process_iter() if _runs_in(process, self.pid)]


def _runs_in(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


def file() -> Path:
    """Return the file that describes this user's Ray, which only this user can read.

    Raises:
        ConfigError: there is no private folder for it.
    """
    return runtime_dir() / "cluster.json"


def running() -> RayHead | None:
    """Return the Ray that `start` has started, or None if none is running."""
    try:
        head = RayHead(**json.loads(file().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return head if head.processes else None


def start(processors: int) -> RayHead:
    """Start Ray on this machine with room for replicas that ask for `processors` in all.

    Raises:
        ClusterError: Ray ended at once; the message names its log.
        ConfigError: there is no private folder.
    """
    folder = _short_folder()
    port, dashboard, client = _free_ports(3)
    token = secrets.token_urlsafe(32)
    command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += ["--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", str(processors)]
    command += ["--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard)]
    command += ["--ray-client-server-port", str(client), "--temp-dir", folder, "--disable-usage-stats"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(log_path(), flags, 0o600), "w") as log:  # noqa: PTH123
        process = subprocess.Popen(
            command,
            env=_environment(token),
            cwd=NEUTRAL_FOLDER,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    head = RayHead(
        process.pid, psutil.Process(process.pid).create_time(), f"http://127.0.0.1:{dashboard}", token, folder
    )
    _write(head)
    return head


def log_path() -> Path:
    """Return the file to which Ray's own messages go.

    Raises:
        ConfigError: there is no folder for it.
    """
    return log_dir() / "cluster.log"


def stop(head: RayHead) -> int:
    """End all processes of a Ray; return how many had to be killed."""
    processes = head.processes
    for process in processes:
        if process.pid == head.pid:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
    deadline = time.monotonic() + PATIENCE
    while head.processes and time.monotonic() < deadline:
        time.sleep(0.1)
    killed = head.processes
    for process in killed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(killed, timeout=5)
    shutil.rmtree(head.folder, ignore_errors=True)
    file().unlink(missing_ok=True)
    return len(killed)


def _environment(token: str) -> dict[str, str]:
    """Return the environment of Ray's processes, in which replicas run too."""
    return safe_environment() | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray would let its workers give way to every other process of the machine.
        "RAY_worker_niceness": "0",
        # `down` has deleted the application before: there is nothing left to wait for.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }


def _short_folder() -> str:
    """Return a new private folder with a path short enough for Ray's sockets below it."""
    parents = [str(runtime_dir()), "/tmp"]
    parent = next((name for name in parents if len(os.fsencode(name)) <= FOLDER_BYTES), tempfile.gettempdir())
    return tempfile.mkdtemp(prefix="ray-", dir=parent)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def _write(head: RayHead) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(file(), flags, 0o600), "w", encoding="utf-8") as handle:  # noqa: PTH123
        json.dump(asdict(head), handle)
