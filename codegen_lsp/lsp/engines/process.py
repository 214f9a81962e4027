"""One engine process of this user: how it is started, asked whether it lives, and killed.

Knows processes, log files and exit codes. Knows nothing of when an engine should run (`supervisor`) or what it is
asked. The language server and the evaluations both start engines here.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from codegen_lsp.wire.child_process import NEUTRAL_FOLDER, package_command, safe_environment
from codegen_lsp.wire.config import EngineConfig, log_path, socket_path

logger = logging.getLogger(__name__)

REFUSED = 2
"""The exit code of an engine that can't be started with this configuration; its last line says why."""
LEAST_SPACE = 2**20
"""Without this many free bytes on its disk, an engine runs without a log."""
MAX_LOG = 4 * 2**20
"""A log file larger than this many bytes is replaced when an engine starts."""
QUOTED = 300
"""Maximum number of characters quoted from the log."""


class EngineProcess:
    """The process of the engine with one configuration."""

    def __init__(
        self, config: EngineConfig, *, idle_timeout: int | None = None, command: Sequence[str] = ()
    ) -> None:
        """`command` replaces the way `codegen-lsp` is called; the arguments of `serve` follow it.

        Raises:
            ConfigError: no private folder is available for the socket.
        """
        self._config = config
        self.socket = socket_path(config)
        self.log = log_path(config)
        self._command = [*(command or package_command()), "serve", "--socket", str(self.socket)]
        if idle_timeout is not None:
            self._command += ["--idle-timeout", str(idle_timeout)]
        self._command += config.to_argv()
        self._child: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def start(self) -> None:
        """Start the process; the engine leaves by itself when it is idle.

        Raises:
            OSError: the system can't start a process.
            ConfigError: the folder of the socket vanished and can't be made again.
        """
        socket_path(self._config), log_path(self._config)  # Their folders may have vanished.
        output = _open_log(self.log)
        try:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=NEUTRAL_FOLDER,
                env=engine_environment(),
                start_new_session=True,
            )
        finally:
            if output != subprocess.DEVNULL:
                os.close(output)
        self._started = time.monotonic()

    @property
    def is_running(self) -> bool:
        """Whether the process that was started here still runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def age(self) -> float:
        """Seconds since the process was started."""
        return time.monotonic() - self._started

    def take_exit_code(self) -> int | None:
        """Return the exit code of the process once it has ended, and forget the process; None before."""
        code = self._child.poll() if self._child is not None else None
        if code is not None:
            self._child = None
        return code

    def kill(self) -> None:
        """Kill the process that was started here."""
        if self._child is not None:
            self._child.kill()

    def kill_number(self, pid: int) -> None:
        """Kill an engine by its process number, provided that it is an engine and belongs to this user."""
        import psutil

        if pid <= 1:
            return
        try:
            process = psutil.Process(pid)
            is_engine = any("codegen" in word or word == str(self.socket) for word in process.cmdline())
            if is_engine and process.uids().real == os.getuid():
                process.kill()
        except psutil.Error as error:
            logger.warning("the engine (process %s) could not be stopped: %s", pid, error)

    def last_words(self) -> str:
        """Return the last line of the log, empty if there is none."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 4096))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:QUOTED]

    def release(self) -> None:
        """Leave the process to the system, which takes it over when this process ends."""
        if self._child is not None and self._child.poll() is None:
            self._child.returncode = 0  # Otherwise Popen warns that the process still runs.


def engine_environment() -> dict[str, str]:
    """Return the environment of a local engine.

    `CODEGEN_LSP_TOKEN` belongs to servers on the network: an engine that took it would refuse its own user.
    """
    environment = safe_environment()
    environment.pop("CODEGEN_LSP_TOKEN", None)
    return environment


def _open_log(path: Path) -> int:
    """Return a descriptor of the log file, which only this user may read; of the null device if there is none."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    try:
        if path.exists() and path.stat().st_size > MAX_LOG:
            path.unlink()
        descriptor = os.open(path, flags, 0o600)
        try:
            _prepare_log(descriptor)
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        logger.warning("the engine runs without a log: %s can't be written (%s)", path, error.strerror)
        return subprocess.DEVNULL
    return descriptor


def _prepare_log(descriptor: int) -> None:
    """Close an open log file to other users, and find out whether there is room for it.

    An engine that writes its first line to a full disk would end with that error.

    Raises:
        OSError: the log can't be written.
    """
    if sys.platform == "win32":
        return
    status, space = os.fstat(descriptor), os.fstatvfs(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid():
        os.fchmod(descriptor, 0o600)
    if space.f_blocks and space.f_bavail * space.f_frsize < LEAST_SPACE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
