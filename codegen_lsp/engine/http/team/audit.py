"""Write down who used the engine, how much and when: counts and sizes, never a text, a token or an address."""

from __future__ import annotations

import json
import logging
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codegen_lsp.wire.errors import ConfigError

log = logging.getLogger(__name__)


class AuditLog:
    """A file with a line of JSON for each request, which only this user can read."""

    def __init__(self, path: Path) -> None:
        """Open the file at its end.

        Raises:
            ConfigError: it can't be written, or is not a regular file.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._handle = os.open(path, flags, 0o600)
        except OSError as error:
            raise ConfigError(f"the audit log {path} can't be written: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(self._handle).st_mode):
            os.close(self._handle)
            raise ConfigError(f"the audit log {path} is not a regular file")
        self._failed = False

    def write(self, record: dict[str, Any]) -> None:
        """Add a line; a full disk is told once and stops nothing."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **record})
        try:
            os.write(self._handle, line.encode() + b"\n")
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.error("the audit log can't be written: %s", error.strerror)
            self._failed = True
