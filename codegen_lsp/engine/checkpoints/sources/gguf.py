"""Read a GGUF file as a checkpoint: converted once into a folder that loads, plans and is placed as any other.

transformers reads the weights and the tokenizer, which takes a minute for a billion parameters; the folder has them in
16 bits (or in the file's float32) and loads at once. It is made again when the file changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError, LoadReport
from codegen_lsp.engine.checkpoints.config_limits import check_config
from codegen_lsp.engine.checkpoints.sources.finished import move_folder
from codegen_lsp.engine.checkpoints.sources.gguf_header import check_header
from codegen_lsp.engine.checkpoints.sources.gguf_tokenizer import gguf_tokenizer
from codegen_lsp.engine.checkpoints.tokenizer import library_errors
from codegen_lsp.wire import extras
from codegen_lsp.wire.folders import models_dir

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

SUFFIX = ".gguf"
MAGIC = b"GGUF"
SHARD_BYTES = 10**9
FORMAT = "1"
"""Part of a folder's name; changes when the conversion does."""

PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


def gguf_errors(path: Path) -> contextlib.AbstractContextManager[None]:
    """Turn everything that reading a GGUF file raises into a sentence."""

    def say(reason: str) -> str:
        match = re.search(r"architecture '?([\w.-]+)'? is not supported", reason)
        if match:
            return (
                f"{path} holds a {match[1]!r} model, which transformers can't read from a GGUF file; "
                "use the model's name on the hub"
            )
        return f"{path} can't be read: {reason}; download it again if it is cut off"

    return library_errors(say)


def is_gguf(path: Path) -> bool:
    """Return whether a path is that of a GGUF file, by its name."""
    return path.suffix.lower() == SUFFIX


def folder_of(path: Path) -> Path:
    """Return the folder that a GGUF file is converted to, whether it exists or not."""
    status = path.stat()
    place = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    version = hashlib.sha256(f"{FORMAT} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:8]
    return models_dir() / "gguf" / f"{path.stem}-{place}-{version}"


def converted(path: Path, progress: LoadReport | None = None) -> Path:
    """Return the folder with a GGUF file's weights and tokenizer, made at the first call.

    Raises:
        CheckpointError: the file is damaged, of a kind that transformers can't read, or the disk is too small.
        MissingExtraError: the extra `gguf` is not installed.
    """
    check_file(path)
    folder = folder_of(path)
    if folder.is_dir():
        return folder
    config = model_config(path)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _check_space(path, folder.parent)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="unfinished-") as made:
            _convert(path, Path(made) / "model", config, progress)
            _replace(Path(made) / "model", folder)
    except OSError as error:
        raise CheckpointError(f"{folder.parent} can't be written to: {error.strerror or error}") from error
    return folder


def check_file(path: Path) -> None:
    """Check the beginning of a GGUF file.

    Raises:
        CheckpointError: it can't be read, is not a GGUF file, or a part of one.
        MissingExtraError: the extra `gguf` is not installed.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"{path} is not a regular file")
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror}") from error
    if magic != MAGIC:
        raise CheckpointError(f"{path} is not a GGUF file; download it again")
    if PART.search(path.name):
        raise CheckpointError(f"{path} is one part of a model; merge the parts with llama-gguf-split --merge")
    extras.require("gguf")


def model_config(path: Path) -> PretrainedConfig:
    """Return the configuration that a GGUF file describes.

    Raises:
        CheckpointError: the file is damaged, absurd, or of a kind that transformers can't read.
    """
    from transformers import AutoConfig

    with gguf_errors(path):
        check_header(path)
        config: PretrainedConfig = AutoConfig.from_pretrained(
            path.parent, gguf_file=path.name, local_files_only=True, trust_remote_code=False
        )
    check_config(json.loads(config.to_json_string()), path)
    return config


def _check_space(path: Path, folder: Path) -> None:
    """Check that 16 bits a weight fit on the disk, if the file has four or more for each."""
    from codegen_lsp.engine.checkpoints.shards import check_space

    check_space(folder, 4 * path.stat().st_size, f"{path.name} with its weights unpacked")


def _convert(path: Path, folder: Path, config: PretrainedConfig, progress: LoadReport | None) -> None:
    """Write `config.json`, safetensors and the tokenizer of a GGUF file into a new folder."""
    from codegen_lsp.engine.checkpoints.shards import PlannedTensor, write_shards

    with gguf_errors(path):
        tokenizer, ends = gguf_tokenizer(path, getattr(config, "max_position_embeddings", 2048))
    with gguf_errors(path), _reported(f"converting {path.name}", progress):
        module, info = _load(path, config)
    if info["missing_keys"] or info["mismatched_keys"]:
        raise CheckpointError(f"{path} lacks weights that its description requires; download it again")
    folder.mkdir()
    config.architectures, config.dtype = [type(module).__name__], module.dtype
    config.save_pretrained(folder)
    if ends:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}), encoding="utf-8")
    tokenizer.save_pretrained(folder)
    # Tied weights have several names; the first one is written.
    tensors = {tensor.data_ptr(): (name, tensor) for name, tensor in reversed(module.state_dict().items())}
    planned = [PlannedTensor(n, tuple(t.shape), t.dtype, partial(_itself, t)) for n, t in tensors.values()]
    write_shards(planned, folder, SHARD_BYTES)


def _load(path: Path, config: PretrainedConfig) -> Any:
    """Return transformers' model of a GGUF file, and what it says about the loading.

    The weights are unpacked: kernels that compute with packed ones come from the hub, and none of its code runs here.
    """
    from transformers import AutoModelForCausalLM, GgufConfig
    from transformers.integrations.gguf.reader import read_gguf_metadata
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    metadata, _ = read_gguf_metadata(str(path))
    loader: Any = AutoModelForCausalLM
    return loader.from_pretrained(
        path.parent,
        config=config,
        gguf_file=path.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=_dtype(metadata),
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )


def _itself(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _dtype(metadata: Mapping[str, Any]) -> torch.dtype:
    """Return the number format that holds a file's weights: 16 bits unless all of them have 32."""
    import torch
    from gguf import LlamaFileType

    kind = metadata.get("general.file_type")
    if kind == LlamaFileType.ALL_F32:
        return torch.float32
    return torch.bfloat16 if kind == LlamaFileType.MOSTLY_BF16 else torch.float16


def _replace(made: Path, folder: Path) -> None:
    """Move a finished folder to its place, and remove those of earlier versions of the file."""
    move_folder(made, folder)
    stem = folder.name.rpartition("-")[0]
    for other in folder.parent.glob(f"{stem}-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


@contextlib.contextmanager
def _reported(what: str, progress: LoadReport | None) -> Iterator[None]:
    """Report transformers' bar over the tensors of a GGUF file, which it draws whatever it is asked."""
    loading: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")

    def bar(items: Any, **_: Any) -> Iterator[Any]:
        items = list(items)
        for done, item in enumerate(items):
            if progress is not None:
                progress(what, done, len(items))
            yield item

    drawn = loading.tqdm
    loading.tqdm = bar
    try:
        yield
    finally:
        loading.tqdm = drawn
