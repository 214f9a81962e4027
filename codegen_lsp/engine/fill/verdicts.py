"""Verdicts of the probe, one small file for each checkpoint. Imports no torch: `models` and `doctor` read them too."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from codegen_lsp.wire.errors import ConfigError
from codegen_lsp.wire.fill.formats import FillChoice, FillFormat, Order
from codegen_lsp.wire.folders import cache_dir

log = logging.getLogger(__name__)

VERSION = 1
"""Counts up when the probe asks for something else: older verdicts are measured again."""
MAX_FILE = 64 * 2**10


class ProbeVerdict(Struct):
    """What the probe found for one checkpoint and one format."""

    family: str
    order: Order | None
    scores: dict[str, float]
    reason: str


def verdict_path(checkpoint: Path) -> Path:
    """Return the file for the verdict about the checkpoint in a folder or file, which changes with its files.

    Raises:
        OSError: the checkpoint can't be read.
        ConfigError: there is no folder for verdicts.
    """
    files = sorted(checkpoint.iterdir()) if checkpoint.is_dir() else [checkpoint]
    stats = [(path.name, path.stat()) for path in files if path.is_file()]
    facts = [VERSION, str(checkpoint.resolve()), [(name, s.st_size, s.st_mtime_ns) for name, s in stats]]
    return cache_dir() / f"fill-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]}.json"


def read(checkpoint: Path) -> ProbeVerdict | None:
    """Return the verdict about a checkpoint, None if it has not been measured as it is now."""
    try:
        path = verdict_path(checkpoint)
        if path.stat().st_size > MAX_FILE:
            return None
        return msgspec.json.decode(path.read_bytes(), type=ProbeVerdict)
    except (OSError, ConfigError, msgspec.DecodeError):
        return None


def recall(checkpoint: Path, fill_format: FillFormat) -> FillChoice | None:
    """Return what was decided about a checkpoint and a format before, None if it has not been measured."""
    verdict = read(checkpoint)
    if verdict is None or verdict.family != fill_format.family:
        return None
    if verdict.order is not None and verdict.order not in fill_format.orders:
        return None
    return FillChoice(fill_format, verdict.order, verdict.scores, verdict.reason)


def remember(checkpoint: Path, choice: FillChoice) -> None:
    """Keep a verdict; without a folder that can be written to it is measured again at the next load."""
    verdict = ProbeVerdict(choice.format.family, choice.order, choice.scores, choice.reason)
    try:
        path = verdict_path(checkpoint)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(msgspec.json.encode(verdict))
        partial.replace(path)
    except (OSError, ConfigError) as error:
        log.warning("the verdict about %s can't be kept: %s", checkpoint, error)
        with contextlib.suppress(OSError, NameError):
            partial.unlink()
