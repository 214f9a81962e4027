"""The kernels of one forward pass, in order: a program for each arrangement of tokens in requests."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from codegen_lsp.engine.model.compiled.parts import StepParts
from codegen_lsp.engine.model.compiled.pass_arguments import PassArguments, PassKind
from codegen_lsp.engine.model.compiled.workspace import Inputs
from codegen_lsp.engine.quantized import packing, products
from codegen_lsp.engine.quantized.attention_kernels import steps
from codegen_lsp.engine.quantized.packing import PackedRows
from codegen_lsp.engine.quantized.products import Tiling
from codegen_lsp.engine.quantized.program import Program, arguments


class StepProgram(ABC):
    """The program for one arrangement of tokens; a family of models adds its layers."""

    def __init__(self, step: StepParts, kinds: Sequence[PassKind], kept: int) -> None:
        """Write the program for requests of some kinds, `kept` of whose tokens need logits."""
        tokens = sum(rows * new for rows, new, _ in kinds)
        self._program = Program()
        self._step = step
        self._tokens, self._kept, self._tiling = tokens, kept, Tiling.of_step(tokens)
        self._rows = step.workspace
        self._program.keep(scratch := step.workspace.scratch(step.threads.most))
        starts = [sum(rows * new for rows, new, _ in kinds[:index]) for index in range(len(kinds))]
        self.passes = [PassArguments(step, *part, scratch) for part in zip(kinds, starts, strict=True)]
        for index, block in enumerate(step.blocks):
            self._add_layer(index, block)
        self._add_head()

    def run(self, kept: torch.Tensor, before: Callable[[], None]) -> torch.Tensor:
        """Return the logits (kept, vocabulary) of these tokens; `before` is called just before the kernels run."""
        threads = self._step.threads.of(self._tokens)
        self._kept_order[:] = kept
        outputs = torch.empty(Tiling.of_step(self._kept).room, self._step.head.out_features)
        self._head_argument[products.OUTPUTS] = outputs.data_ptr()
        before()
        started = time.perf_counter()
        self._program.run(threads)
        self._step.threads.add(self._tokens, threads, time.perf_counter() - started)
        return outputs[: self._kept]

    @abstractmethod
    def _add_layer(self, index: int, block: Any) -> None:
        """Add the kernels of one layer."""

    def _add_rotations(self, index: int) -> None:
        """Add what turns queries and keys, and stores keys and values."""
        for part in self.passes:
            self._program.add(self._step.rotation(is_half=part.is_half), part.rotations[index])

    def _add_attention(self, index: int) -> None:
        """Add what mixes values, as inputs of products; all threads meet after it."""
        for part in self.passes:
            kernel = steps.kernel(self._step.width, part.is_half)
            self._program.add(kernel, part.attentions[index])
        self._program.meet()
        if self._step.packs:
            self._pack(self._rows.mixed, self._rows.mixed_inputs, self._tokens)
            self._program.meet()

    def _pack(self, floats: torch.Tensor, inputs: Inputs, rows: int) -> None:
        if isinstance(inputs, PackedRows):
            self._program.add(packing.kernel(), packing.argument_of(floats[:rows], inputs))

    def _add_inputs(self, norm: Any, order: torch.Tensor, rows: int) -> None:
        """Add a norm of rows of the residual stream as inputs of products; all threads meet after it."""
        weight, bias, size = self._step.norm_weights(norm)
        epsilon = torch.tensor([size])
        tensors = self._rows.states, order, weight, bias, self._rows.normed, epsilon
        addresses = (tensor.data_ptr() for tensor in tensors)
        self._program.add(self._step.norm(), arguments(rows, self._rows.states.shape[1], *addresses))
        self._program.keep(epsilon)
        # Each thread goes on with the rows that it normed.
        self._pack(self._rows.normed, self._rows.normed_inputs, rows)
        self._program.meet()

    def _add_product(
        self, layer: nn.Module, inputs: Inputs, outputs: torch.Tensor, *, adds: bool = False
    ) -> None:
        weights = self._step.weights[layer]
        bias = weights.float_bias()
        argument = products.argument_of(weights, bias, inputs, outputs, self._tiling)
        self._program.add(products.kernel_of(weights, self._tiling, adds=adds), argument)
        self._program.keep(bias)

    def _add_head(self) -> None:
        norm, head = self._step.final_norm, self._step.head
        self._kept_order = torch.zeros(self._kept, dtype=torch.int64)
        self._add_inputs(norm, self._kept_order, self._kept)
        bias = head.float_bias()
        outputs, tiling = torch.empty(1, head.out_features), Tiling.of_step(self._kept)
        self._head_argument = products.argument_of(head, bias, self._rows.normed_inputs, outputs, tiling)
        self._program.add(products.kernel_of(head, tiling), self._head_argument)
        self._program.keep(bias)
