"""CodeGen's weights as those of a Phi model, which computes the same.

Both have one LayerNorm per layer, attention and feed-forward in parallel after it, rotations of a part of each head,
`gelu_new`, and a head with a bias that is not tied to the embeddings. Three things differ:

- CodeGen fuses its projections in `mp_num` parts, each ordered query, value, key.
- CodeGen rotates neighbours (2i, 2i + 1), Phi rotates the two halves (i, i + rotary / 2): the rows of queries and keys
  change places once.
- Phi has biases in its attention, which are zero here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from codegen_lsp.engine.checkpoints import files, locate
from codegen_lsp.engine.checkpoints.checkpoint import Checkpoint, CheckpointError, LoadReport
from codegen_lsp.engine.checkpoints.dimensions import chunks_of
from codegen_lsp.engine.checkpoints.shards import PlannedTensor
from codegen_lsp.engine.checkpoints.tokenizer import load_tokenizer
from codegen_lsp.engine.export.weights import CheckpointWeights
from codegen_lsp.engine.model.vocabulary import CODEGEN_END, without_added

SAME = (
    ("ln_1", "input_layernorm", ("weight", "bias")),
    ("attn.out_proj", "self_attn.dense", ("weight",)),
    ("mlp.fc_in", "mlp.fc1", ("weight", "bias")),
    ("mlp.fc_out", "mlp.fc2", ("weight", "bias")),
)
"""The parts of a layer that Phi has under another name."""

QUERY, VALUE, KEY = range(3)
PARTS = {"q_proj": QUERY, "k_proj": KEY, "v_proj": VALUE}


@dataclass(frozen=True, slots=True)
class CodeGenSource:
    """A CodeGen checkpoint that is exported: its configuration, its tokenizer and its weights."""

    name: str
    folder: Path
    vocabulary: int
    context: int
    layers: int
    width: int
    inner: int
    heads: int
    rotary: int
    chunks: int
    """In how many parts queries, values and keys are stored."""
    epsilon: float
    dtype: torch.dtype
    tokenizer: Any
    """Of the package tokenizers."""
    end: int
    """Id of the end of text."""
    weights: CheckpointWeights

    @property
    def head_width(self) -> int:
        """Number of dimensions of a head."""
        return self.width // self.heads


def open_source(
    checkpoint: Checkpoint, *, allow_pickle: bool = False, progress: LoadReport | None = None
) -> CodeGenSource:
    """Return a checkpoint, downloaded if it is not on this machine yet.

    Raises:
        CheckpointError: it can't be read, or is not a CodeGen model.
    """
    folder = locate.locate(checkpoint, allow_pickle=allow_pickle, progress=progress)
    config = files.read_config(folder)
    if config["model_type"] != "codegen":
        raise CheckpointError(
            f"{checkpoint.name} is a {config['model_type']} model; only CodeGen models can be exported, "
            "since other engines load the other models as they are"
        )
    dimensions = _dimensions(config, folder)
    tokenizer = load_tokenizer(checkpoint, folder)
    backend = tokenizer.backend_tokenizer
    if checkpoint.is_natural_language:
        backend = without_added(backend)
    end = tokenizer.eos_token_id
    weights = CheckpointWeights(folder)
    return CodeGenSource(
        name=Path(checkpoint.name).name,
        folder=folder,
        tokenizer=backend,
        end=end if end is not None else backend.token_to_id(CODEGEN_END) or 0,
        weights=weights,
        dtype=weights.dtype("transformer.wte.weight"),
        **dimensions,
    )


def _dimensions(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the dimensions of a configuration by the names of `CodeGenSource`.

    Raises:
        CheckpointError: one is missing or impossible, or Phi has no such activation.
    """
    try:
        width, heads, rotary = int(config["n_embd"]), int(config["n_head"]), int(config["rotary_dim"])
        dimensions = {
            "vocabulary": int(config["vocab_size"]),
            "context": int(config["n_positions"]),
            "layers": int(config["n_layer"]),
            "width": width,
            "inner": int(config.get("n_inner") or 4 * width),
            "heads": heads,
            "rotary": rotary,
            "chunks": (chunks := chunks_of(int(config["n_layer"]), width, config.get("mp_num"))),
            "epsilon": float(config.get("layer_norm_epsilon", 1e-5)),
        }
        possible = width % heads == 0 and heads % chunks == 0 and 0 < rotary <= width // heads
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{folder / 'config.json'} lacks a dimension of CodeGen ({error})") from error
    if not possible or rotary % 2 or config.get("activation_function", "gelu_new") != "gelu_new":
        raise CheckpointError(f"{folder / 'config.json'} has dimensions or an activation that Phi can't have")
    return dimensions


def phi_tensors(source: CodeGenSource) -> Iterator[PlannedTensor]:
    """Yield Phi's tensors in the order of its layers; each is read from the checkpoint when it is asked for.

    Raises:
        CheckpointError: when a tensor is read that the checkpoint lacks, or has in another shape.
    """
    width, inner, vocabulary = source.width, source.inner, source.vocabulary
    shapes = {
        "ln_1": ((width,), (width,)),
        "attn.out_proj": ((width, width), ()),
        "mlp.fc_in": ((inner, width), (inner,)),
        "mlp.fc_out": ((width, inner), (width,)),
    }
    yield _same(source, "transformer.wte.weight", "model.embed_tokens.weight", (vocabulary, width))
    for layer in range(source.layers):
        ours, theirs = f"transformer.h.{layer}", f"model.layers.{layer}"
        for name, index in PARTS.items():
            read = partial(_projection, source, layer, index)
            attention = f"{theirs}.self_attn.{name}"
            yield PlannedTensor(f"{attention}.weight", (width, width), source.dtype, read)
            yield _zeros(source, f"{attention}.bias")
        for old, new, kinds in SAME:
            for kind, shape in zip(kinds, shapes[old], strict=False):
                yield _same(source, f"{ours}.{old}.{kind}", f"{theirs}.{new}.{kind}", shape)
        yield _zeros(source, f"{theirs}.self_attn.dense.bias")
    for kind in ("weight", "bias"):
        yield _same(source, f"transformer.ln_f.{kind}", f"model.final_layernorm.{kind}", (width,))
    yield _same(source, "lm_head.weight", "lm_head.weight", (vocabulary, width))
    yield _same(source, "lm_head.bias", "lm_head.bias", (vocabulary,))


def _same(source: CodeGenSource, old: str, new: str, shape: tuple[int, ...]) -> PlannedTensor:
    return PlannedTensor(new, shape, source.dtype, partial(source.weights.read, old, shape))


def _zeros(source: CodeGenSource, name: str) -> PlannedTensor:
    return PlannedTensor(
        name, (source.width,), source.dtype, partial(torch.zeros, source.width, dtype=source.dtype)
    )


def _projection(source: CodeGenSource, layer: int, part: int) -> torch.Tensor:
    """Return the rows of queries, keys or values, head by head, in the order in which Phi rotates them."""
    width = source.width
    fused = source.weights.read(f"transformer.h.{layer}.attn.qkv_proj.weight", (3 * width, width))
    rows = fused.view(source.chunks, 3, -1, source.head_width, width)[:, part].reshape(
        -1, source.head_width, width
    )
    if part != VALUE:
        turned, others = rows[:, : source.rotary], rows[:, source.rotary :]
        rows = torch.cat([turned[:, 0::2], turned[:, 1::2], others], dim=1)
    return rows.reshape(width, width)
