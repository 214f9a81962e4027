"""Checkpoints on the Hugging Face hub: in its local cache, or downloaded into it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from codegen_lsp.engine.checkpoints import files
from codegen_lsp.engine.checkpoints.checkpoint import Checkpoint, CheckpointError, LoadReport
from codegen_lsp.wire.config import option

HTTP_LIBRARIES = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
"""Libraries that versions of huggingface_hub ask the hub through, and whose errors they let pass."""


def offline() -> bool:
    """Return whether the user has forbidden network access."""
    values = (os.environ.get(n, "").upper() for n in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(v in ("1", "ON", "YES", "TRUE") for v in values)


def cached(checkpoint: Checkpoint, *, allow_pickle: bool = False) -> Path | None:
    """Return the folder in the local cache if it holds the whole checkpoint. Uses no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(checkpoint.source, revision=checkpoint.revision, local_files_only=True)
        )
        files.check(folder, allow_pickle=allow_pickle)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError, CheckpointError):
        return None
    return folder


def cached_config(checkpoint: Checkpoint) -> Path | None:
    """Return the folder in the local cache that holds the checkpoint's `config.json`, with or without weights."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(checkpoint.source, "config.json", revision=checkpoint.revision)
    return Path(path).parent if isinstance(path, str) else None


def cached_sizes() -> dict[str, int]:
    """Return the bytes that each model takes in the local cache."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return {}
    return {repo.repo_id: int(repo.size_on_disk) for repo in repos if repo.repo_type == "model"}


def pull(checkpoint: Checkpoint, *, allow_pickle: bool = False, progress: LoadReport | None = None) -> Path:
    """Download the configuration, tokenizer and weights of a checkpoint into the local cache.

    Raises:
        CheckpointError: there is no such checkpoint, it has no safetensors, or there is no network.
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    name = checkpoint.source
    try:
        return _download(checkpoint, allow_pickle, progress)
    except GatedRepoError as error:
        raise CheckpointError(f"{name} requires a licence; accept it on the hub and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(f"the hub has no model {name}, or it is private (set HF_TOKEN)") from error
    except (HfHubHTTPError, OSError) as error:
        raise _not_downloaded(name, error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in HTTP_LIBRARIES:
            raise _not_downloaded(name, error) from error
        raise


def _download(checkpoint: Checkpoint, allow_pickle: bool, progress: LoadReport | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    name = checkpoint.source
    info = HfApi().model_info(name, revision=checkpoint.revision, timeout=30)
    patterns = [*files.PATTERNS]
    if not any(sibling.rfilename.endswith(".safetensors") for sibling in info.siblings or ()):
        if not allow_pickle:
            raise CheckpointError(
                f"{name} has no safetensors; choose a {option('revision')} that has, or trust its pickles "
                f"with {option('allow-pickle')}"
            )
        patterns.append("*.bin")
    if progress is not None:
        progress(f"downloading {name}", 0, 0)
    return Path(
        snapshot_download(
            name,
            revision=checkpoint.revision,
            allow_patterns=patterns,
            tqdm_class=_reporting_bar(name, progress) if progress is not None else None,
        )
    )


def _not_downloaded(name: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{name} could not be downloaded ({files.first_line(error)}); without a network, use --model nano "
        "or a local folder"
    )


def _reporting_bar(name: str, progress: LoadReport) -> Any:
    """Return a class of progress bars that report megabytes instead of drawing."""
    from tqdm import tqdm

    class Reporting(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": False, "file": open(os.devnull, "w")})  # noqa: SIM115, PTH123

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            if self.unit == "B":
                progress(f"downloading {name}", int(self.n / 1e6), int((self.total or 0) / 1e6))
            return shown

    return Reporting
