"""The kernels of one forward pass, in order: a program for each arrangement of tokens in requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from codegen_lsp.engine.model.compiled.parts import StepParts
from codegen_lsp.engine.model.compiled.pass_arguments import PassArguments, PassKind
from codegen_lsp.engine.model.compiled.workspace import Inputs
from codegen_lsp.engine.quantized import attention_kernel, elementwise, packing, products
from codegen_lsp.engine.quantized.packing import PackedRows
from codegen_lsp.engine.quantized.program import Program, arguments


class StepProgram:
    """The program for one arrangement of tokens."""

    def __init__(self, step: StepParts, kinds: Sequence[PassKind], kept: int) -> None:
        tokens = sum(rows * new for rows, new, _ in kinds)
        self._program = Program()
        self._step = step
        self._tokens, self._kept = tokens, kept
        self._rows = step.workspace
        self._program.keep(scratch := step.workspace.scratch())
        starts = [sum(rows * new for rows, new, _ in kinds[:index]) for index in range(len(kinds))]
        self.passes = [PassArguments(step, *part, scratch) for part in zip(kinds, starts, strict=True)]
        for index, block in enumerate(step.blocks):
            self._add_layer(index, block)
        self._add_head()

    def run(self, kept: torch.Tensor) -> torch.Tensor:
        """Return the logits (kept, vocabulary) of these tokens."""
        self._kept_order[:] = kept
        outputs = torch.empty(products.room_for(self._kept), self._step.head.out_features)
        self._head_argument[products.OUTPUTS] = outputs.data_ptr()
        self._program.run()
        return outputs[: self._kept]

    def _add_layer(self, index: int, block: Any) -> None:
        program, step, tokens = self._program, self._step, self._tokens
        self._add_norm(block.ln_1, step.order, tokens)
        self._pack(self._rows.normed, self._rows.normed_inputs, tokens)
        program.meet()
        self._add_product(block.attn.qkv_proj, self._rows.normed_inputs, self._rows.parts)
        self._add_product(block.mlp.fc_in, self._rows.normed_inputs, self._rows.hidden)
        # The columns that a thread has multiplied: no other one is waited for.
        columns = products.columns_of(tokens)
        gelu = arguments(tokens, step.inner, self._rows.hidden.data_ptr())
        program.add(elementwise.gelu(columns), gelu)
        program.meet()
        for part in self.passes:
            program.add(
                elementwise.rotation(step.width, step.rotary, is_half=part.is_half), part.rotations[index]
            )
        self._pack(self._rows.hidden, self._rows.hidden_inputs, tokens)
        program.meet()
        for part in self.passes:
            program.add(attention_kernel.kernel(step.width, part.is_half), part.attentions[index])
        program.meet()
        if step.packs:
            self._pack(self._rows.mixed, self._rows.mixed_inputs, tokens)
            program.meet()
        self._add_product(block.attn.out_proj, self._rows.mixed_inputs, self._rows.states, adds=True)
        self._add_product(block.mlp.fc_out, self._rows.hidden_inputs, self._rows.states, adds=True)
        program.meet()

    def _pack(self, floats: torch.Tensor, inputs: Inputs, rows: int) -> None:
        if isinstance(inputs, PackedRows):
            self._program.add(packing.kernel(), packing.argument_of(floats[:rows], inputs))

    def _add_norm(self, norm: Any, order: torch.Tensor, rows: int) -> None:
        """Add a layer norm of the residual stream; each thread may go on with the rows that it normed."""
        epsilon = torch.tensor([norm.eps])
        addresses = (
            t.data_ptr()
            for t in (self._rows.states, order, norm.weight, norm.bias, self._rows.normed, epsilon)
        )
        self._program.add(elementwise.norm(), arguments(rows, self._step.embedding, *addresses))
        self._program.keep(epsilon)

    def _add_product(
        self, layer: nn.Module, inputs: Inputs, outputs: torch.Tensor, *, adds: bool = False
    ) -> None:
        weights = self._step.weights[layer]
        bias = weights.float_bias()
        argument = products.argument_of(weights, bias, inputs, outputs, self._tokens)
        self._program.add(products.kernel_of(weights, self._tokens, adds=adds), argument)
        self._program.keep(bias)

    def _add_head(self) -> None:
        norm, head = self._step.final_norm, self._step.head
        self._kept_order = torch.zeros(self._kept, dtype=torch.int64)
        self._add_norm(norm, self._kept_order, self._kept)
        self._pack(self._rows.normed, self._rows.normed_inputs, self._kept)
        self._program.meet()
        bias = head.float_bias()
        outputs = torch.empty(1, head.out_features)
        self._head_argument = products.argument_of(head, bias, self._rows.normed_inputs, outputs, self._kept)
        self._program.add(products.kernel_of(head, self._kept), self._head_argument)
        self._program.keep(bias)
