"""Load a checkpoint and place it on the available devices.

Knows transformers, accelerate and placement. Code that comes with a checkpoint is never run.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from codegen_lsp.cores import core_count
from codegen_lsp.engine.architectures import OWN_NAMES
from codegen_lsp.engine.checkpoints import files, placement
from codegen_lsp.engine.checkpoints.checkpoint import Checkpoint, CheckpointError, LoadReport
from codegen_lsp.engine.checkpoints.locate import locate
from codegen_lsp.engine.checkpoints.placement import Blueprint, blueprint_of
from codegen_lsp.engine.checkpoints.tokenizer import load_tokenizer
from codegen_lsp.engine.memory import large_blocks_apart, release_memory
from codegen_lsp.engine.model.compiled.threads import SMALL
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.vocabulary import CODEGEN_END, Vocabulary, without_added
from codegen_lsp.engine.quantized.choice import MAX_ERROR
from codegen_lsp.engine.quantized.layers import quantize_head, read_prompts_in
from codegen_lsp.engine.read_ahead import read_ahead
from codegen_lsp.wire.config import EngineConfig, expanded, option

log = logging.getLogger(__name__)

MOST_OF_SMALL = 2
"""Maximum number of threads of a small model's steps."""

PAGE = 4096
"""Bytes that the system maps at a time."""


def load(config: EngineConfig, checkpoint: Checkpoint, progress: LoadReport | None = None) -> Model:
    """Return the model of a checkpoint, loaded as a configuration says.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or too large; the message says what to do.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = locate(checkpoint, allow_pickle=config.allow_pickle, progress=progress)
    tokenizer = load_tokenizer(checkpoint, folder)
    with large_blocks_apart():
        module, blueprint = _load_module(config, folder, progress)
    counts = _set_threads(config.threads, blueprint.parameters)
    limit = getattr(module.config.get_text_config(), "max_position_embeddings", None) or 2**20
    head: Any = module.get_output_embeddings()
    vocabulary = _vocabulary(tokenizer, int(head.out_features), module, checkpoint)
    context = min(config.context or limit, limit)
    model = Model(module, vocabulary, checkpoint.name, context, blueprint.kv_dtype)
    model.prefill_chunk = config.prefill_chunk or model.prefill_chunk
    model.weights, model.weights_reason = blueprint.weights, blueprint.choice.reason
    model.read_ahead = read_ahead(module)
    model.choose_threads(counts)
    _record_steps(model)
    model.aliases = checkpoint.aliases | {config.model.lower()}
    if not checkpoint.is_natural_language:
        model.tokenizer_file = files.tokenizer_file(folder)
    return model


def _record_steps(model: Model) -> None:
    """Let a GPU replay steps of few tokens, if it holds the whole model."""
    if model.input_device.type != "cuda":
        return
    from codegen_lsp.engine.model.graphs.recorders import CudaRecorder

    if model.record_steps(CudaRecorder(model.input_device)):
        name = torch.cuda.get_device_name(model.input_device)
        log.info("steps of few tokens run as CUDA graphs on %s", name)
    else:
        log.info("steps make their calls one by one: CUDA graphs are for %s models on one GPU", OWN_NAMES)


def _set_threads(count: int, parameters: int) -> Sequence[int]:
    """Set the number of threads of torch's operators; return those that steps may choose from, if they may.

    0 leaves the number to torch, except that a small model's operators compute in one: they are too short to share,
    since waking a second thread takes longer than its part of the work. Its steps are long enough for two.
    """
    if count:
        torch.set_num_threads(count)
    elif parameters < SMALL:
        torch.set_num_threads(1)
        return range(1, min(core_count(), MOST_OF_SMALL) + 1)
    return ()


def _load_module(
    config: EngineConfig, folder: Path, progress: LoadReport | None
) -> tuple[PreTrainedModel, Blueprint]:
    """Return the module with its weights, and the blueprint that it was made from."""
    blueprint = blueprint_of(config, placement.model_config(folder))
    placed = placement.place(config, blueprint.module)
    if "disk" in placed.values() and not config.offload_folder:
        raise CheckpointError(
            f"the layers do not fit into memory; use a smaller model, or set {option('offload-folder')}"
        )
    options: dict[str, Any] = {
        "dtype": blueprint.dtype,
        "trust_remote_code": False,
        "local_files_only": True,
        "use_safetensors": None if config.allow_pickle else True,
        "output_loading_info": True,
        "device_map": placed,
    }
    if config.offload_folder:
        offload_folder = expanded(config.offload_folder)
        _check_writable(offload_folder)
        options["offload_folder"] = str(offload_folder)
    errors: list[float] = []
    if blueprint.choice.format is not None:
        from codegen_lsp.engine.quantized.loading import WeightConfig

        weight_config = options["quantization_config"] = WeightConfig(
            blueprint.choice.format, halves=blueprint.halves
        )
        errors = weight_config.errors
    module, info = _from_pretrained(folder, options, progress)
    _check_complete(folder, info)
    if config.quantize == "auto" and max(errors, default=0) > MAX_ERROR:
        log.warning("int8 is not accurate for %s (error of a matrix: %.0f %%)", folder, 100 * max(errors))
        return _load_module(replace(config, quantize="none"), folder, progress)
    if blueprint.choice.format is not None:
        quantize_head(module, halves=blueprint.halves)
        read_prompts_in(module, blueprint.prompt_dtype)
        release_memory()
    module.eval()
    _read_ahead(module)
    return module, blueprint


def _from_pretrained(
    folder: Path, options: Mapping[str, Any], progress: LoadReport | None
) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    hook = transformers_logging.set_tqdm_hook(_progress_hook(progress))
    try:
        loader: Any = AutoModelForCausalLM
        module, info = loader.from_pretrained(folder, **options)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        if "out of memory" in str(error).lower():
            raise
        raise CheckpointError(_load_failure(folder, error)) from error
    finally:
        transformers_logging.set_tqdm_hook(hook)
    return module, info


def _check_complete(folder: Path, info: Mapping[str, Any]) -> None:
    missing = sorted(info["missing_keys"])
    if missing or info["mismatched_keys"]:
        example = missing[0] if missing else str(next(iter(info["mismatched_keys"])))
        raise CheckpointError(
            f"{folder} lacks weights that its config.json requires ({len(missing)} missing, such as {example})"
        )


def _check_writable(folder: Path) -> None:
    """Raise CheckpointError if layers can't be written to a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CheckpointError(
            f"the offload folder {folder} can't be written ({error.strerror}); choose another: "
            f"{option('offload-folder')}"
        ) from error


@torch.inference_mode()
def _read_ahead(module: PreTrainedModel) -> None:
    """Bring weights that are mapped from their file into memory now, so that no request waits for the disk."""
    for weight in module.parameters():
        if weight.device.type == "cpu" and weight.is_contiguous():
            weight.view(-1)[:: PAGE // weight.dtype.itemsize].sum()


def _load_failure(folder: Path, error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    if "trust_remote_code" in text or "custom code" in text:
        return f"{folder} requires code of its authors, which this engine never runs"
    return f"{folder} could not be loaded: {text}"


def _vocabulary(tokenizer: Any, size: int, module: PreTrainedModel, checkpoint: Checkpoint) -> Vocabulary:
    """Return the vocabulary with the correct end of text.

    CodeGen's configuration on the hub names id 1 as the beginning of text and no padding; its tokenizer has the right
    ids. Ends that only the generation configuration names count if the tokenizer marks them as special.
    """
    backend = tokenizer.backend_tokenizer
    if checkpoint.is_natural_language:
        backend = without_added(backend)
    ends = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    configured = getattr(module.generation_config, "eos_token_id", None)
    special = set(tokenizer.all_special_ids)
    ends += [e for e in ([configured] if isinstance(configured, int) else configured or []) if e in special]
    if not ends and (end := backend.token_to_id(CODEGEN_END)) is not None:
        ends = [end]
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return Vocabulary(backend, size, ends, start)


def _progress_hook(progress: LoadReport | None) -> Any:
    """Return a hook for transformers' progress bars that reports the weights as they are loaded."""
    if progress is None:
        return None

    def hook(factory: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if "weights" not in str(kwargs.get("desc", "")).lower() or not args:
            return factory(*args, **kwargs)
        items = list(args[0])

        def counted() -> Any:
            for done, item in enumerate(items):
                progress("loading weights", done, len(items))
                yield item
            progress("loading weights", len(items), len(items))

        return counted()

    return hook
