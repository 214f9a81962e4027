"""Load a checkpoint, place it on the devices that are there, and compute with it.

Knows transformers and accelerate. The rest of the engine sees one narrow door, `Model.forward`: tokens and a KV
cache in, logits out, so that a quantized or compiled path can take its place behind it.
"""

from __future__ import annotations

import inspect
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, PreTrainedModel
from transformers.utils import logging as transformers_logging

from codegen_lsp.engine.checkpoints import locate, placement
from codegen_lsp.engine.checkpoints.locate import Checkpoint, CheckpointError, LoadReport
from codegen_lsp.engine.model.codegen import network_of
from codegen_lsp.engine.model.kv import ForkedCache, GrowingCache, KVCache, Layout, Store
from codegen_lsp.engine.model.vocabulary import Vocabulary, without_added
from codegen_lsp.wire.config import EngineConfig, option

log = logging.getLogger(__name__)

SMALL = 50_000_000
"""Parameters below which a model computes in one thread."""

PAGE = 4096
"""Bytes that the system maps at a time."""

CODEGEN_END = "<|endoftext|>"


class Model:
    """A causal language model in memory."""

    def __init__(self, module: PreTrainedModel, vocabulary: Vocabulary, name: str, context: int) -> None:
        """`context` is the most tokens that prompt and completion may have together."""
        self.module = module
        self.vocabulary = vocabulary
        self.name = name
        self.context = context
        self.tokenizer_file = ""
        self.aliases = frozenset({name.lower()})
        self.input_device = _input_device(module)
        self._keeps = "logits_to_keep" in inspect.signature(module.forward).parameters
        self._network = network_of(module)
        self.layout = self._probe()
        banned = torch.zeros(vocabulary.size, dtype=torch.bool)
        banned[vocabulary.without_text] = True
        self.banned = banned

    @property
    def bytes_per_token(self) -> int:
        """Bytes of KV cache a token takes; 0 where the architecture keeps more than keys and values."""
        return self.layout.bytes_per_token if self.layout is not None else 0

    @property
    def forks(self) -> bool:
        """Whether rows can part from one prompt without a copy of it, several tokens at once."""
        return self._network is not None and self.layout is not None

    def new_cache(self, room: int) -> Store:
        """An empty KV cache for one row."""
        if self.layout is None:
            return GrowingCache(self.module.config)
        return KVCache(self.layout, room)

    def part(self, kv: Store, rows: int, more: int) -> Store:
        """The cache with which `rows` rows go on from the only one in `kv`, with room for `more` tokens each."""
        if self.forks and rows > 1:
            return self.fork(kv, rows, more)
        kv.expand(rows, more)
        return kv

    def fork(self, kv: Store, rows: int, more: int) -> ForkedCache:
        """Rows that go on from the only one in `kv`, which stays as it is; for models that can (`forks`)."""
        assert isinstance(kv, KVCache)
        return ForkedCache(kv, rows, more)

    @torch.inference_mode()
    def forward(self, tokens: torch.Tensor, kv: Store, keep: int | torch.Tensor = 1) -> torch.Tensor:
        """Read tokens behind what `kv` holds, and add their keys and values to it.

        Args:
            tokens: ids (rows, t), rows as many as the cache has.
            kv: grows by t tokens.
            keep: how many of the last positions to give logits for, or which positions (of the t).

        Returns:
            logits (rows, kept, vocabulary) in float32 on the processor.
        """
        kv.reserve(tokens.shape[1])
        tokens = tokens.to(self.input_device)
        if self._network is not None and not isinstance(kv, GrowingCache):
            return self._network.logits(tokens, kv, keep).float().cpu()
        arguments: dict[str, Any] = {"past_key_values": kv.cache, "use_cache": True}
        if self._keeps:
            arguments["logits_to_keep"] = keep
        logits: torch.Tensor = self.module(tokens, **arguments).logits
        if not self._keeps:
            logits = logits[:, -keep:] if isinstance(keep, int) else logits[:, keep]
        return logits.float().cpu()

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return int(self.module.config.get_text_config().num_hidden_layers)

    @torch.inference_mode()
    def hidden_states(self, tokens: torch.Tensor, kv: Store, layer: int) -> torch.Tensor:
        """Read tokens as `forward` does, for their features instead of their logits.

        Args:
            tokens: ids (rows, t).
            kv: grows by t tokens.
            layer: 0 is what the embedding table gives, n the output of layer n; negative counts from the last.

        Returns:
            states (rows, t, width) in float32 on the processor.
        """
        kv.reserve(tokens.shape[1])
        tokens = tokens.to(self.input_device)
        if self._network is not None and not isinstance(kv, GrowingCache):
            return self._network.states(tokens, kv, layer).float().cpu()
        arguments = {"past_key_values": kv.cache, "use_cache": True, "output_hidden_states": True}
        found: Any = self.module.base_model(tokens, **arguments)
        states: torch.Tensor = found.hidden_states[layer]
        return states.float().cpu()

    @torch.inference_mode()
    def _probe(self) -> Layout | None:
        """Read one token, to see what the KV cache looks like and where it lives."""
        cache = DynamicCache(config=self.module.config)
        token = torch.tensor([[self.vocabulary.start]], device=self.input_device)
        self.module(token, past_key_values=cache, use_cache=True)
        layout = Layout.of(cache)
        return layout.computable() if layout is not None and self._network is not None else layout


def _input_device(module: PreTrainedModel) -> torch.device:
    """Where tokens go: to the embeddings, or, where these wait on disk, to where they are brought to be used."""
    embeddings: Any = module.get_input_embeddings()
    device: torch.device = embeddings.weight.device
    return torch.device(embeddings._hf_hook.execution_device) if device.type == "meta" else device


def load(config: EngineConfig, checkpoint: Checkpoint, progress: LoadReport | None = None) -> Model:
    """Load a checkpoint as a configuration says.

    Raises:
        CheckpointError: it can't be found, is damaged, or does not fit; the message says what to do.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = locate.locate(checkpoint, allow_pickle=config.allow_pickle, progress=progress)
    tokenizer = _tokenizer(checkpoint, folder)
    module = _load_module(config, folder, progress)
    _set_threads(config.threads, module)
    limits = getattr(module.config.get_text_config(), "max_position_embeddings", None) or 2**20
    context = min(config.context or limits, limits)
    head: Any = module.get_output_embeddings()
    vocabulary = _vocabulary(tokenizer, int(head.weight.shape[0]), module, checkpoint)
    model = Model(module, vocabulary, checkpoint.name, context)
    model.aliases = checkpoint.aliases | {config.model.lower()}
    if not checkpoint.is_natural_language:
        model.tokenizer_file = locate.tokenizer_file(folder)
    return model


def _set_threads(wanted: int, module: PreTrainedModel) -> None:
    """Threads of the processor: as many as asked for; else one for a small model, whose steps are too short to
    share (waking a second thread takes longer than its part of the work), and torch's own number for others."""
    if wanted:
        torch.set_num_threads(wanted)
    elif module.num_parameters() < SMALL:
        torch.set_num_threads(1)


def _load_module(config: EngineConfig, folder: Path, progress: LoadReport | None) -> PreTrainedModel:
    dtype = placement.pick_dtype(config)
    placed = placement.place(config, placement.empty_module(placement.model_config(folder), dtype))
    if "disk" in placed.values() and not config.offload_folder:
        raise CheckpointError(
            f"the layers do not fit into memory; take a smaller model, or name {option('offload-folder')} for the rest"
        )
    if config.offload_folder:
        _check_writable(Path(config.offload_folder).expanduser())
    options: dict[str, Any] = {
        "dtype": dtype,
        "trust_remote_code": False,
        "local_files_only": True,
        "use_safetensors": None if config.allow_pickle else True,
        "output_loading_info": True,
        "device_map": placed,
    }
    if config.offload_folder:
        options["offload_folder"] = str(Path(config.offload_folder).expanduser())
    hook = transformers_logging.set_tqdm_hook(_bars(progress))
    try:
        loader: Any = AutoModelForCausalLM
        module, info = loader.from_pretrained(folder, **options)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        if "out of memory" in str(error).lower():
            raise
        raise CheckpointError(_load_failure(folder, error)) from error
    finally:
        transformers_logging.set_tqdm_hook(hook)
    missing = sorted(info["missing_keys"])
    if missing or info["mismatched_keys"]:
        what = missing[0] if missing else str(next(iter(info["mismatched_keys"])))
        raise CheckpointError(
            f"{folder} lacks weights that its config.json asks for ({len(missing)} missing, such as {what})"
        )
    loaded: PreTrainedModel = module.eval()
    _read_ahead(loaded)
    return loaded


def _check_writable(folder: Path) -> None:
    """Raises CheckpointError where no layer can be written to a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CheckpointError(
            f"the offload folder {folder} can't be written ({error.strerror}); name another: {option('offload-folder')}"
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
        return f"{folder} needs code of its authors, which this engine never runs"
    return f"{folder} could not be loaded: {text}"


def _tokenizer(checkpoint: Checkpoint, folder: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise CheckpointError(f"the tokenizer in {folder} can't be loaded: {text}") from error
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise CheckpointError(f"{checkpoint.name} has no fast tokenizer (tokenizer.json)")
    return tokenizer


def _vocabulary(tokenizer: Any, size: int, module: PreTrainedModel, checkpoint: Checkpoint) -> Vocabulary:
    """The vocabulary, with an end of text that is right.

    CodeGen's configuration on the hub names id 1 as the beginning of text and no padding; its tokenizer knows
    better. Ends that only the generation configuration names count where the tokenizer holds them special.
    """
    backend = tokenizer.backend_tokenizer
    if checkpoint.is_natural_language:
        backend = without_added(backend)
    ends = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    named = getattr(module.generation_config, "eos_token_id", None)
    special = set(tokenizer.all_special_ids)
    ends += [e for e in ([named] if isinstance(named, int) else named or []) if e in special]
    if not ends and (end := backend.token_to_id(CODEGEN_END)) is not None:
        ends = [end]
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return Vocabulary(backend, size, ends, start)


def _bars(progress: LoadReport | None) -> Any:
    """A hook for transformers' progress bars that reports the weights as they arrive."""
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
