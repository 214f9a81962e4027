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

from codegen_lsp.engine.model.passes import Pass, kept_indices, split_logits

if TYPE_CHECKING:
    from codegen_lsp.engine.model.compiled.step import CompiledStep
    from codegen_lsp.engine.model.graphs.recorders import Recorder
    from codegen_lsp.engine.model.kv_layout import Layout


class Network(ABC):
    """The forward pass over the modules of one model."""

    layer_count: int
    final_norm: Any

    def __init__(self, module: PreTrainedModel) -> None:
        """Take a model with weights."""
        self._module = module
        self._step: CompiledStep | None = None
        self._masks: dict[torch.device, torch.Tensor] = {}

    @abstractmethod
    def states_of(self, passes: Sequence[Pass]) -> Iterator[torch.Tensor]:
        """Yield the residual stream (tokens, width): the output of the embedding table, then that of each layer.

        Keys and values are stored.
        """

    @abstractmethod
    def record_steps(self, layout: Layout, recorder: Recorder) -> bool:
        """Record steps of few tokens, and replay them; return false if that is not possible."""

    def logits(self, passes: Sequence[Pass]) -> list[torch.Tensor]:
        """Read tokens at the end of KV caches; return logits (rows, kept, vocabulary) for each pass."""
        if self._step is not None and self._step.takes(passes):
            return self._step.logits(passes)
        last = deque(self.states_of(passes), maxlen=1)[0]
        kept = last[kept_indices(passes).to(last.device)]
        return split_logits(self.head(kept), passes)

    def head(self, states: torch.Tensor) -> torch.Tensor:
        """Return the logits (tokens, vocabulary) after states (tokens, width) of the last layer."""
        output: Any = self._module.get_output_embeddings()
        logits: torch.Tensor = output(self.final_norm(states))
        return logits

    def compile_ahead(self, dtype: torch.dtype) -> None:
        """Compile in the background what steps need whose keys and values have a dtype."""
        if self._step is not None:
            self._step.compile_ahead(is_half=dtype == torch.bfloat16)

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
