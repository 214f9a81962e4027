"""What a compiled step knows of a model: weights as kernels read them, dimensions, and the memory it computes in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from codegen_lsp.engine.model.compiled.threads import ThreadChoice
from codegen_lsp.engine.model.compiled.workspace import Widths, Workspace
from codegen_lsp.engine.model.passes import Pass
from codegen_lsp.engine.quantized import products
from codegen_lsp.engine.quantized.attention_kernels import prompts
from codegen_lsp.engine.quantized.elementwise import TABLES
from codegen_lsp.engine.quantized.formats import FEW_ROWS
from codegen_lsp.engine.quantized.layers import QuantizedLinear, StoredEmbedding
from codegen_lsp.engine.quantized.products import HalfWeights, KernelWeights
from codegen_lsp.engine.quantized.writer import is_fast_processor, vector_width

PROMPT_ROOM = 288
"""Tokens that there is room for, and multiples of it: a chunk of a prompt, and steps of other requests beside it."""


class StepParts(ABC):
    """The layers of one model, and what all of its programs share."""

    table: torch.Tensor
    """The embedding table (vocabulary, width)."""
    blocks: Sequence[Any]
    """The layers."""
    final_norm: Any
    head: KernelWeights
    """The weights that make logits of states."""
    heads: int
    """Number of heads of queries."""
    sharing: int
    """Number of heads of queries that share one of keys and values."""
    division: int
    """Number of heads in a chunk, or of keys: what the rotation's kernel divides heads by."""
    width: int
    """Numbers in a head."""
    context: int
    """Maximum number of tokens that attention looks at."""
    widths: Widths

    def __init__(self, weights: Mapping[nn.Module, KernelWeights]) -> None:
        """Take what `weights_of` says of a model."""
        self.weights = weights
        self.packs = next(iter(weights.values())).format != "bfloat16"
        """Whether products take inputs in integers."""
        self.threads = ThreadChoice()
        self._workspaces: dict[bool, Workspace] = {}

    def workspace(self, tokens: int) -> Workspace:
        """Return the memory for a pass over some tokens; steps and prompts have their own."""
        is_prompt = tokens > FEW_ROWS
        room = -(-tokens // PROMPT_ROOM) * PROMPT_ROOM if is_prompt else FEW_ROWS
        workspace = self._workspaces.get(is_prompt)
        if workspace is None or workspace.tokens < tokens:
            workspace = self._workspaces[is_prompt] = Workspace(self.widths, room)
        return workspace

    def prepare_prompts(self, *, is_half: bool) -> None:
        """Compile what prompts need, if kernels read them; `is_half` says whether keys and values are in bfloat16."""
        if isinstance(self.head, QuantizedLinear):
            for weights in self.weights.values():
                products.prepare_prompts(weights)
            prompts.prepare(self.width, is_half=is_half)

    def reads_prompts(self, tokens: int, *, is_half: bool) -> bool:
        """Return whether kernels read prompts of some tokens, and are compiled: no prompt waits for a compiler."""
        reads = isinstance(self.head, QuantizedLinear) and self.head.uses_kernels(tokens)
        return reads and prompts.kernel(self.width, is_half=is_half) is not None

    @abstractmethod
    def rotation(self, *, is_half: bool) -> int:
        """Return the address of the kernel that rotates queries and keys, and stores keys and values."""

    @abstractmethod
    def tables(self, workspace: Workspace, start: int) -> tuple[int, int]:
        """Return the addresses of the cosines and sines for a request whose first token is number `start` of a pass."""

    @abstractmethod
    def norm(self) -> int:
        """Return the address of the kernel for norms."""

    @abstractmethod
    def norm_weights(self, norm: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Return the weight of a norm, its bias (any tensor, if it has none) and its epsilon."""

    @abstractmethod
    def prepare(self, workspace: Workspace, passes: Sequence[Pass]) -> None:
        """Write what the kernels need to know of the tokens' positions."""


def table_of(embeddings: Any) -> torch.Tensor | None:
    """Return the table of a model's embeddings; None if they are more than a table that the kernel reads."""
    if type(embeddings) not in (nn.Embedding, StoredEmbedding) or embeddings.weight.dtype not in TABLES:
        return None
    table: torch.Tensor = embeddings.weight
    return table if table.is_contiguous() else None


def weights_of(module: PreTrainedModel, widths: Sequence[int]) -> Mapping[nn.Module, KernelWeights] | None:
    """Return the weights of linear layers in memory as kernels read them; None if the kernels can't compute this model.

    They need `widths` that are whole vectors.
    """
    if any(width % vector_width() for width in widths):
        return None
    weights: dict[nn.Module, KernelWeights] = {}
    for layer in module.modules():
        if isinstance(layer, QuantizedLinear):
            weights[layer] = layer
        elif type(layer) is nn.Linear:
            half = HalfWeights.of(layer) if is_fast_processor() else None
            if half is None:
                return None
            weights[layer] = half
    return weights if len({part.format == "bfloat16" for part in weights.values()}) == 1 else None
