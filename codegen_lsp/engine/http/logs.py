"""A log that can't fill the disk."""

from __future__ import annotations

import logging
import os
import stat
from typing import TextIO

MAX_LOG = 8 * 2**20
"""Bytes from which on a log file is emptied."""


class CappedHandler(logging.StreamHandler[TextIO]):
    """A handler that empties the file behind its stream once it is too large; pipes and terminals are left alone."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            self._cap()
        except (OSError, ValueError):
            self.handleError(record)
        super().emit(record)

    def _cap(self) -> None:
        descriptor = self.stream.fileno()
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_size > MAX_LOG:
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            self.stream.write(f"(emptied: the log had more than {MAX_LOG} bytes)\n")
