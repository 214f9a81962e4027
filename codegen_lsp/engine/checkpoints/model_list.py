"""List the models that can be named, and those that are on this machine. Uses no network and no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codegen_lsp.engine.checkpoints import hub, locate
from codegen_lsp.engine.checkpoints.checkpoint import NANO, Checkpoint
from codegen_lsp.engine.checkpoints.dimensions import short_names


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be named."""

    name: str
    source: str
    """`bundled`, or the name on the hub."""
    local_bytes: int | None
    """Bytes on this machine; None if it is not completely here."""

    def to_json(self) -> dict[str, Any]:
        """Return the entry as `models --json` prints it."""
        return asdict(self)


def list_models() -> list[ModelEntry]:
    """Return the bundled model, the twelve CodeGen models, and other checkpoints in the hub's cache."""
    nano = locate.resolve(NANO)
    folder = Path(nano.source)
    entries = [ModelEntry(nano.name, "bundled", _bytes_in(folder) if folder.is_dir() else None)]
    sizes = hub.cached_sizes()
    for name in short_names():
        checkpoint = locate.resolve(name)
        complete = hub.cached(checkpoint) is not None
        size = sizes.pop(checkpoint.source, 0)
        entries.append(ModelEntry(name, checkpoint.source, size if complete else None))
    for source, size in sorted(sizes.items()):
        if hub.cached(Checkpoint(source, "hub", source)) is not None:
            entries.append(ModelEntry(source, source, size))
    return entries


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
