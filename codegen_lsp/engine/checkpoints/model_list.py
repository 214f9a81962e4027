"""Which models can be named, and which of them are on this machine.

Knows the bundled model, the twelve names, and the hub's local cache. No network, no torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codegen_lsp.engine.checkpoints import locate


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be named."""

    name: str
    source: str
    """`bundled`, or the hub's name."""
    local_bytes: int | None
    """Bytes on this machine; None where it is not whole here."""

    def to_json(self) -> dict[str, Any]:
        """The entry as `models --json` prints it."""
        return asdict(self)


def inventory() -> list[ModelEntry]:
    """The bundled model, the twelve CodeGen names, and other checkpoints in the hub's cache."""
    nano = locate.resolve(locate.NANO)
    folder = Path(nano.source)
    entries = [ModelEntry(nano.name, "bundled", _bytes_in(folder) if folder.is_dir() else None)]
    sizes = _cached_sizes()
    for name in locate.short_names():
        checkpoint = locate.resolve(name)
        whole = locate.cached(checkpoint) is not None
        size = sizes.pop(checkpoint.source, 0)
        entries.append(ModelEntry(name, checkpoint.source, size if whole else None))
    for source, size in sorted(sizes.items()):
        if locate.cached(locate.Checkpoint(source, "hub", source)) is not None:
            entries.append(ModelEntry(source, source, size))
    return entries


def _cached_sizes() -> dict[str, int]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return {}
    return {repo.repo_id: int(repo.size_on_disk) for repo in repos if repo.repo_type == "model"}


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
