"""Names to checkpoints: the bundled one, CodeGen's twelve, any on the Hugging Face hub, any local folder.

Knows names, folders and the hub's local cache; checks that a checkpoint is whole before anything heavy starts.
Knows no weights and imports no torch. Code that comes with a checkpoint is never run.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from codegen_lsp.wire.config import EngineConfig, option
from codegen_lsp.wire.errors import CodegenError

SHAPES = ("350M", "2B", "6B", "16B")
VARIANTS = ("nl", "multi", "mono")
NANO = "nano"
NANO_FOLDER = Path(__file__).resolve().parents[2] / "nano" / "model"

FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
"""What is downloaded of a checkpoint; `*.bin` too where pickles are allowed."""

Kind = Literal["bundled", "hub", "folder"]
LoadReport = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and of how much (0: unknown)."""


class CheckpointError(CodegenError):
    """A checkpoint can't be used; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a model's files are, or can be had from."""

    name: str
    """What people call it: `nano`, `350M-mono`, `owner/name`, or a folder's path."""
    kind: Kind
    source: str
    """The hub's name or the folder."""
    revision: str | None = None

    @property
    def is_natural_language(self) -> bool:
        """One of CodeGen's NL checkpoints, which are sampled with plain GPT-2 tokens."""
        return re.search(r"codegen-(350m|2b|6b|16b)-nl\b", Path(self.source).name, re.IGNORECASE) is not None

    @property
    def aliases(self) -> frozenset[str]:
        """Names, in lower case, by which a request may call this model."""
        names = {self.name, self.source, Path(self.source).name}
        return frozenset(n.lower() for n in names)


def short_names() -> tuple[str, ...]:
    """`350M-nl` ... `16B-mono`."""
    return tuple(f"{shape}-{variant}" for shape in SHAPES for variant in VARIANTS)


def resolve(name: str, revision: str | None = None) -> Checkpoint:
    """What a name means; looks at the file system, never at the network.

    Raises:
        CheckpointError: it is a folder that is not there, or no name the hub could have.
    """
    name = name.strip()
    if name.lower() == NANO:
        return Checkpoint(NANO, "bundled", str(NANO_FOLDER))
    short = re.fullmatch(r"(?:salesforce/)?(?:codegen-)?(350m|2b|6b|16b)[-_](nl|multi|mono)", name.lower())
    if short and not Path(name).is_dir():
        shape, variant = short[1].upper(), short[2]
        return Checkpoint(f"{shape}-{variant}", "hub", f"Salesforce/codegen-{shape}-{variant}", revision)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Checkpoint(name, "folder", str(folder.resolve()))
    if name.startswith(("/", ".", "~")) or "\\" in name or name.count("/") > 1:
        raise CheckpointError(
            f"there is no folder {folder}; name one that holds a checkpoint, or take the model nano"
        )
    if folder.exists():
        raise CheckpointError(f"{folder} is a file; name the folder that holds the checkpoint")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name, re.ASCII):
        raise CheckpointError(f"{name!r} is neither a folder nor a name on the Hugging Face hub")
    if "/" not in name and not _known_to_hub_without_owner(name):
        raise CheckpointError(
            f"{name!r} is no folder and no known model; take nano, one of {', '.join(short_names())}, "
            "a hub name with its owner (owner/name), or a local folder"
        )
    return Checkpoint(name, "hub", name, revision)


def _known_to_hub_without_owner(name: str) -> bool:
    """A few old hub names have no owner; they count when they are in the local cache."""
    return name in ("gpt2", "distilgpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")


def offline() -> bool:
    """Whether the user forbade the network."""
    values = (os.environ.get(n, "").upper() for n in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(v in ("1", "ON", "YES", "TRUE") for v in values)


def locate(checkpoint: Checkpoint, *, allow_pickle: bool = False, progress: LoadReport | None = None) -> Path:
    """The folder with the checkpoint's files, downloaded where they are not on this machine yet.

    A checkpoint that is here is found without a network call.

    Raises:
        CheckpointError: it is not whole, or not here and can't be had.
    """
    if checkpoint.kind != "hub":
        folder = Path(checkpoint.source)
        if checkpoint.kind == "bundled" and not (folder / "config.json").is_file():
            raise CheckpointError(
                f"the bundled model is missing from {folder}; reinstall codegen-lsp, or name another --model"
            )
        check(folder, allow_pickle=allow_pickle)
        return folder
    folder_or_none = cached(checkpoint, allow_pickle=allow_pickle)
    if folder_or_none is not None:
        return folder_or_none
    if offline():
        raise CheckpointError(
            f"{checkpoint.source} is not on this machine and HF_HUB_OFFLINE is set; "
            f"run `codegen-lsp models pull {checkpoint.name}` with a network, or take --model nano"
        )
    folder = pull(checkpoint, allow_pickle=allow_pickle, progress=progress)
    check(folder, allow_pickle=allow_pickle)
    return folder


def cached(checkpoint: Checkpoint, *, allow_pickle: bool = False) -> Path | None:
    """The folder in the hub's local cache, where it holds the whole checkpoint. No network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(checkpoint.source, revision=checkpoint.revision, local_files_only=True)
        )
        check(folder, allow_pickle=allow_pickle)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError, CheckpointError):
        return None
    return folder


def cached_config(checkpoint: Checkpoint) -> Path | None:
    """The folder in the hub's local cache that holds the checkpoint's `config.json`, with weights or without."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(checkpoint.source, "config.json", revision=checkpoint.revision)
    return Path(path).parent if isinstance(path, str) else None


def pull(checkpoint: Checkpoint, *, allow_pickle: bool = False, progress: LoadReport | None = None) -> Path:
    """Download a hub checkpoint's configuration, tokenizer and weights into the hub's cache.

    Raises:
        CheckpointError: there is no such checkpoint, no safetensors in it, or no network.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    name = checkpoint.source
    try:
        info = HfApi().model_info(name, revision=checkpoint.revision, timeout=30)
        files = [s.rfilename for s in info.siblings or ()]
        patterns = [*FILES]
        if not any(f.endswith(".safetensors") for f in files):
            if not allow_pickle:
                raise CheckpointError(
                    f"{name} has no safetensors; name a {option('revision')} that has, or trust its pickles "
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
    except GatedRepoError as error:
        raise CheckpointError(f"{name} asks for a licence; accept it on the hub and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(f"the hub has no model {name}, or it is private (set HF_TOKEN)") from error
    except (HfHubHTTPError, OSError) as error:
        raise CheckpointError(
            f"{name} could not be downloaded ({_first_line(error)}); with no network, take --model nano "
            "or a local folder"
        ) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("httpx", "httpcore", "requests", "urllib3"):
            raise CheckpointError(
                f"{name} could not be downloaded ({_first_line(error)}); with no network, take --model nano "
                "or a local folder"
            ) from error
        raise


def _reporting_bar(name: str, progress: LoadReport) -> Any:
    """A progress bar's class that reports megabytes instead of drawing."""
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


def check(folder: Path, *, allow_pickle: bool = False) -> None:
    """Look whether a folder holds a whole checkpoint; reads headers only.

    Raises:
        CheckpointError: something is missing, corrupt, or a pickle that was not allowed.
    """
    read_config(folder)
    if not any((folder / f).is_file() for f in ("tokenizer.json", "vocab.json", "tokenizer.model")):
        raise CheckpointError(f"{folder} holds no tokenizer (tokenizer.json); copy the model's own there")
    shards = weight_files(folder)
    if not shards:
        if not any(folder.glob("*.bin")):
            raise CheckpointError(f"{folder} holds no weights (model.safetensors)")
        if not allow_pickle:
            raise CheckpointError(
                f"{folder} holds pickled weights only, which can run code; convert them to safetensors, "
                f"or trust them with {option('allow-pickle')}"
            )
    for shard in shards:
        _check_shard(shard)


def read_config(folder: Path) -> dict[str, Any]:
    """A folder's `config.json`.

    Raises:
        CheckpointError: it is missing, no JSON object, or names no kind of model.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} is no checkpoint: it holds no config.json; name the folder that does, or take the model nano"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read: {_first_line(error)}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise CheckpointError(f"{path} does not say which kind of model it is (model_type)")
    return config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up a checkpoint, as its index names them.

    Raises:
        CheckpointError: the index can't be read, or a shard is missing.
    """
    single = folder / "model.safetensors"
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [single] if single.is_file() else []
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} can't be read: {_first_line(error)}") from error
    missing = [n for n in names if not (folder / n).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} of {len(names)} shards ({missing[0]}); fetch the checkpoint again"
        )
    return [folder / n for n in names]


def _check_shard(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is corrupt or cut off ({_first_line(error)}); fetch the checkpoint again"
        ) from error


def tokenizer_file(folder: Path) -> str:
    """The folder's `tokenizer.json`, or nothing."""
    path = folder / "tokenizer.json"
    return str(path) if path.is_file() else ""


def of(config: EngineConfig) -> Checkpoint:
    """The checkpoint that a configuration names."""
    return resolve(config.model, config.revision)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
