"""What forward passes of this engine's own have in common: the residual stream from layer to layer, and the head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from codegen_lsp.engine.model.attention import attend
from codegen_lsp.engine.model.passes import Before, Pass, flat, kept_indices, positions, split_logits
from codegen_lsp.engine.quantized.layers import QuantizedLinear

if TYPE_CHECKING:
    from codegen_lsp.engine.model.compiled.step import CompiledStep
    from codegen_lsp.engine.model.graphs.recorders import Recorder
    from codegen_lsp.engine.model.graphs.static_step import StaticStep
    from codegen_lsp.engine.model.kv_layout import Layout

Attend = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
"""Takes rotated queries (tokens, heads, width), values and rotated keys (tokens, 2, chunks, heads of a chunk, width),
and the index of their layer; returns mixed values (tokens, heads * width)."""


class Network(ABC):
    """The forward pass over the modules of one model."""

    layer_count: int
    final_norm: Any
    device: torch.device
    """What reads tokens: the device of the embedding table."""
    limit: int
    """Maximum number of positions."""
    scale = 1.0
    """What products of queries and keys are multiplied by."""

    def __init__(self, module: PreTrainedModel) -> None:
        """Take a model with weights."""
        self._module = module
        self._step: CompiledStep | None = None
        self._static: StaticStep | None = None
        self._masks: dict[torch.device, torch.Tensor] = {}
        # Kernels come with quantized weights: their library isn't loaded for attention alone.
        self._compiled = isinstance(module.get_output_embeddings(), QuantizedLinear)

    @property
    def has_kernels(self) -> bool:
        """Whether kernels compute steps, so that their compiler is there."""
        return self._step is not None

    @abstractmethod
    def layers(
        self, tokens: torch.Tensor, order: torch.Tensor, attend_to: Attend, kept: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield the residual stream (tokens, width): the output of the embedding table, then that of each layer.

        Args:
            tokens: ids (tokens), on the network's device.
            order: their positions.
            attend_to: what computes attention, and stores keys and values.
            kept: indices of the tokens that the last layer is yielded for, without what only the others need; None for
                all.
        """

    def states_of(self, passes: Sequence[Pass], kept: torch.Tensor | None = None) -> Iterator[torch.Tensor]:
        """Return the residual stream of passes as `layers` does; their keys and values are stored."""

        def attend_each(queries: torch.Tensor, states: torch.Tensor, index: int) -> torch.Tensor:
            return by_pass(
                passes, lambda part, place: self._attend(part, index, queries[place], states[place])
            )

        tokens, order = flat(passes).to(self.device), positions(passes).to(self.device)
        return self.layers(tokens, order, attend_each, kept)

    def _attend(self, part: Pass, index: int, queries: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Return the mixed values (tokens, heads * width) of one pass, whose keys and values are stored."""
        rows, new = part.rows, part.new
        layer: Any = part.kv.cache.layers[index]
        layer.put(states.view(rows, new, *states.shape[1:]).permute(2, 0, 3, 4, 1, 5))
        query = queries.view(rows, new, *queries.shape[1:]).transpose(1, 2)
        mask = self.mask(new, query.device)
        mixed = attend(query, layer, mask, scale=self.scale, compiled=self._compiled)
        return mixed.transpose(1, 2).reshape(rows * new, -1)

    def record_steps(self, layout: Layout, recorder: Recorder) -> bool:
        """Record steps of few tokens, and replay them; return false if not all layers are on one device."""
        from codegen_lsp.engine.model.graphs.static_step import StaticStep

        if not is_in_one_place(self._module):
            return False
        self._step = None
        self._static = StaticStep(self, layout, recorder)
        return True

    def logits(self, passes: Sequence[Pass], before: Before) -> list[torch.Tensor]:
        """Read tokens at the end of KV caches; return logits (rows, kept, vocabulary) for each pass.

        `before` is called just before kernels run, which leave Python to other threads.
        """
        if self._step is not None and self._step.takes(passes):
            return self._step.logits(passes, before)
        before()
        results = self._static.logits(passes) if self._static is not None else None
        if results is not None:
            return results
        # On a GPU, a copy behind the layers would wait for them.
        kept = torch.tensor(kept_indices(passes)).to(self.device)
        return split_logits(self.head(deque(self.states_of(passes, kept), maxlen=1)[0]), passes)

    def head(self, states: torch.Tensor) -> torch.Tensor:
        """Return the logits (tokens, vocabulary) after states (tokens, width) of the last layer."""
        output: Any = self._module.get_output_embeddings()
        logits: torch.Tensor = output(self.final_norm(states))
        return logits

    def compile_ahead(self, dtype: torch.dtype, *, in_background: bool) -> None:
        """Compile what prompts and steps need whose keys and values have a dtype."""
        if self._step is not None:
            self._step.compile_ahead(is_half=dtype == torch.bfloat16, in_background=in_background)

    def choose_threads(self, counts: Sequence[int]) -> None:
        """Let steps of few tokens take that one of some numbers of threads which is fastest at the moment."""
        if self._step is not None:
            self._step.choose_threads(counts)

    def states(self, part: Pass, layer: int) -> torch.Tensor:
        """Return the features (rows, t, width) after `layer` layers; those of the last layer are normalised."""
        layer = layer if layer >= 0 else layer + self.layer_count + 1
        state = next(islice(states := self.states_of([part]), layer, None))
        deque(states, maxlen=0)
        final: torch.Tensor = self.final_norm(state) if layer == self.layer_count else state
        return final.view(part.rows, part.new, -1)

    def mask(self, new: int, device: torch.device) -> torch.Tensor | None:
        """Return which of `new` positions (the rows) must not see which (the columns); None for a single one."""
        if new == 1:
            return None
        mask = self._masks.get(device)
        if mask is None or mask.shape[0] < new:
            mask = self._masks[device] = torch.ones(new, new, dtype=torch.bool, device=device).triu_(1)
        return mask[:new, :new]


def only(kept: torch.Tensor | None, *rows: torch.Tensor) -> Sequence[torch.Tensor]:
    """Return tensors (tokens, …) with those of their rows that are kept; as they are if all are."""
    if kept is None or len(kept) == len(rows[0]):
        return rows
    kept = kept.to(rows[0].device)
    return [each[kept] for each in rows]


def by_pass(passes: Sequence[Pass], compute: Callable[[Pass, slice], torch.Tensor]) -> torch.Tensor:
    """Return what is computed for each pass and its place among the tokens of all, one after the other."""
    results, start = [], 0
    for part in passes:
        stop = start + part.rows * part.new
        results.append(compute(part, slice(start, stop)))
        start = stop
    return results[0] if len(results) == 1 else torch.cat(results)


def has_float_norms_on_processor(module: nn.Module, norm: Any) -> bool:
    """Return whether a model is in memory as a whole, its norms in float32: the kernels compute nothing else."""
    return is_in_one_place(module) and norm.weight.device.type == "cpu" and norm.weight.dtype == torch.float32


def device_of(part: Any) -> torch.device:
    """Return the device of a module's weights, or the one that they are brought to from disk for use."""
    hook = getattr(part, "_hf_hook", None)
    if hook is not None and getattr(hook, "execution_device", None) is not None:
        return torch.device(hook.execution_device)
    device: torch.device = part.weight.device
    return device


def is_in_one_place(module: nn.Module) -> bool:
    """Return whether all weights are on one device, and nothing brings them there when they are used."""
    hooked = any(hasattr(part, "_hf_hook") for part in module.modules())
    return not hooked and len({weight.device for weight in module.parameters()}) == 1
