"""Verdicts of the probe, one small file for each checkpoint. Imports no torch: `models` and `doctor` read them too."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from codegen_lsp.wire.errors import ConfigError
from codegen_lsp.wire.fill.formats import LEFT_TO_RIGHT, FillChoice, FillFormat, Order
from codegen_lsp.wire.folders import cache_dir

log = logging.getLogger(__name__)

VERSION = 1
"""Counts up when the probe asks for something else: older verdicts are measured again."""
MAX_FILE = 64 * 2**10


class ProbeVerdict(Struct):
    """What the probe found for one checkpoint and one format."""

    family: str
    templates: tuple[str, str]
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


def described(checkpoint: Path) -> str:
    """Return for a person how a checkpoint fills in the middle; empty if it has not been measured, or has no tokens."""
    verdict = read(checkpoint)
    if verdict is None:
        return ""
    scores = ", ".join(f"{name} {value:.2f}" for name, value in sorted(verdict.scores.items()))
    return f"{verdict.order or LEFT_TO_RIGHT} ({verdict.family}; {scores} nats a token)"


def recall(checkpoint: Path, fill_format: FillFormat) -> FillChoice | None:
    """Return what was decided about a checkpoint and a format before, None if it has not been measured."""
    verdict = read(checkpoint)
    if verdict is None or verdict.templates != (fill_format.psm, fill_format.spm):
        return None
    return FillChoice(fill_format, verdict.order, verdict.scores, verdict.reason)


def remember(checkpoint: Path, choice: FillChoice) -> None:
    """Keep a verdict; without a folder that can be written to it is measured again at the next load."""
    fill_format = choice.format
    templates = (fill_format.psm, fill_format.spm)
    verdict = ProbeVerdict(fill_format.family, templates, choice.order, choice.scores, choice.reason)
    try:
        path = verdict_path(checkpoint)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(msgspec.json.encode(verdict))
        partial.replace(path)
    except (OSError, ConfigError) as error:
        log.warning("the verdict about %s can't be kept: %s", checkpoint, error)
