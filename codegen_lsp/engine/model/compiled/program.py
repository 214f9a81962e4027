"""The kernels of one forward pass, in order: a program for each arrangement of tokens in requests."""

from __future__ import annotations

import ctypes
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from codegen_lsp.engine.model.compiled.parts import StepParts
from codegen_lsp.engine.model.compiled.pass_arguments import PassArguments, PassKind, scratch_for
from codegen_lsp.engine.model.compiled.workspace import Inputs
from codegen_lsp.engine.model.passes import Before, Pass, flat
from codegen_lsp.engine.quantized import elementwise, packing, products
from codegen_lsp.engine.quantized.formats import FEW_ROWS
from codegen_lsp.engine.quantized.packing import PackedRows
from codegen_lsp.engine.quantized.products import KernelWeights, Tiling
from codegen_lsp.engine.quantized.program import Arguments, Program, arguments

IDS = elementwise.LOOKUP_FIELDS.index("ids")


class StepProgram(ABC):
    """The program for one arrangement of tokens; a family of models adds its layers.

    In a prompt the last layer computes only the tokens that need logits, once it has mixed their values.
    """

    def __init__(self, step: StepParts, kinds: Sequence[PassKind], kept: int) -> None:
        """Write the program for requests of some kinds, `kept` of whose tokens need logits."""
        self._program = Program()
        self._step = step
        self._tokens = self._count = sum(rows * new for rows, new, _ in kinds)
        self._is_prompt = self._tokens > FEW_ROWS
        self._kept = kept
        self._rows = step.workspace(self._tokens)
        self._states = self._rows.states
        self._mixed = self._rows.mixed
        self._turns: list[Any] = []
        """The arguments of kernels whose threads take turns, which count from 0 in each run."""
        scratch = scratch_for(step, kinds)
        starts = [sum(rows * new for rows, new, _ in kinds[:index]) for index in range(len(kinds))]
        self.passes = [
            PassArguments(step, self._rows, *part, scratch) for part in zip(kinds, starts, strict=True)
        ]
        self._kept_order = arguments(*[0] * kept)
        self._add_lookup()
        for index, block in enumerate(step.blocks):
            self._add_layer(index, block)
        self._add_head()

    def run(self, passes: Sequence[Pass], kept: Sequence[int], before: Before) -> torch.Tensor:
        """Return the logits (kept, vocabulary) of passes; `before` is called just before the kernels run."""
        self._step.prepare(self._rows, passes)
        for part, places in zip(passes, self.passes, strict=True):
            places.place(part)
        tokens = flat(passes)
        choice = self._step.threads
        # What a token of a long pass takes says what one takes in another.
        size, share = (FEW_ROWS + 1, self._tokens) if self._is_prompt else (self._tokens, 1)
        self._kept_order[:] = [*kept]
        self._lookup[IDS] = tokens.data_ptr()
        outputs = torch.empty(self._head_tiling.room, self._step.head.out_features)
        self._head_argument[products.OUTPUTS] = outputs.data_ptr()
        for argument in self._turns:
            argument[-1] = 0
        is_busy = before()
        threads = choice.of(size, is_busy=is_busy)
        started = time.perf_counter()
        self._program.run(threads)
        choice.add(size, threads, (time.perf_counter() - started) / share, is_busy=is_busy)
        return outputs[: self._kept]

    @abstractmethod
    def _add_layer(self, index: int, block: Any) -> None:
        """Add the kernels of one layer."""

    def _add_lookup(self) -> None:
        table, states = self._step.table, self._rows.states
        places = table.data_ptr(), len(table), 0, states.data_ptr()
        self._lookup = arguments(self._tokens, table.shape[1], *places)
        # Each thread norms the rows that it has looked up.
        self._program.add(elementwise.lookup(table.dtype), self._lookup)

    def _add_rotations(self, index: int) -> None:
        """Add what turns queries and keys, and stores keys and values."""
        for part in self.passes:
            self._program.add(self._step.rotation(is_half=part.is_half), part.rotations[index])

    def _add_attention(self, index: int) -> None:
        """Add what mixes values, as inputs of products; all threads meet after it."""
        for part in self.passes:
            self._program.add(part.kernel, part.attentions[index])
            if part.is_long:
                self._turns.append(part.attentions[index])
        self._program.meet()
        if self._is_prompt and index == len(self._step.blocks) - 1:
            self._narrow()
        if self._step.packs:
            self._pack(self._mixed, self._rows.mixed_inputs)
            self._program.meet()

    def _narrow(self) -> None:
        """Go on with the tokens whose logits are needed."""
        rooms, kernel = self._rows, elementwise.lookup(torch.float32)
        for source, target in ((rooms.states, rooms.kept), (rooms.mixed, rooms.queries)):
            places = source.data_ptr(), len(source), ctypes.addressof(self._kept_order), target.data_ptr()
            self._program.add(kernel, arguments(self._kept, source.shape[1], *places))
        self._program.meet()
        self._count, self._states, self._mixed = self._kept, rooms.kept, rooms.queries

    def _pack(self, floats: torch.Tensor, inputs: Inputs) -> None:
        if isinstance(inputs, PackedRows):
            kernel = packing.kernel_for(inputs, self._count)
            self._program.add(kernel, packing.argument_of(floats[: self._count], inputs))

    def _add_inputs(self, norm: Any, order: int | None = None) -> None:
        """Add a norm of the residual stream as inputs of products; all threads meet after it.

        `order` is the address of the rows' numbers, if they are not the first ones.
        """
        weight, bias, size = self._step.norm_weights(norm)
        epsilon = torch.tensor([size])
        order = self._rows.order.data_ptr() if order is None else order
        tensors = weight, bias, self._rows.normed, epsilon
        places = self._states.data_ptr(), order, *(tensor.data_ptr() for tensor in tensors)
        self._program.add(self._step.norm(), arguments(self._count, self._states.shape[1], *places))
        self._program.keep(epsilon)
        # Each thread goes on with the rows that it normed.
        self._pack(self._rows.normed, self._rows.normed_inputs)
        self._program.meet()

    def _add_product(
        self, layer: nn.Module, inputs: Inputs, outputs: torch.Tensor, *, adds: bool = False
    ) -> None:
        self._add_kernel(self._step.weights[layer], inputs, outputs, adds=adds)

    def _add_kernel(
        self, weights: KernelWeights, inputs: Inputs, outputs: torch.Tensor, *, adds: bool = False
    ) -> Arguments:
        """Add a product, and return its argument."""
        tiling = Tiling.of_layer(self._count, weights, adds=adds)
        bias, in_turns = weights.float_bias(), self._takes_turns
        argument = products.argument_of(weights, bias, inputs, outputs, tiling)
        self._program.add(products.kernel_of(weights, tiling, adds=adds, in_turns=in_turns), argument)
        self._program.keep(bias)
        if in_turns:
            self._turns.append(argument)
        return argument

    def _add_activation(self, layer: nn.Module, kernel: Callable[[int], int], *places: int) -> None:
        """Add an activation of a layer's outputs.

        In a step a thread has the columns that it has multiplied: no other one is waited for.
        """
        if self._takes_turns:
            self._program.meet()
        weights = self._step.weights[layer]
        argument = arguments(self._count, weights.out_features, *places)
        self._program.add(kernel(Tiling.of_layer(self._count, weights).columns), argument)

    @property
    def _takes_turns(self) -> bool:
        """Whether threads take blocks of columns in turns, as they do for more rows than a step has."""
        return self._count > FEW_ROWS

    def _add_head(self) -> None:
        is_narrow, self._count = self._states is self._rows.kept, self._kept
        self._add_inputs(self._step.final_norm, None if is_narrow else ctypes.addressof(self._kept_order))
        self._head_tiling = Tiling.of_layer(self._kept, self._step.head)
        outputs = torch.empty(1, self._step.head.out_features)
        self._head_argument = self._add_kernel(self._step.head, self._rows.normed_inputs, outputs)
