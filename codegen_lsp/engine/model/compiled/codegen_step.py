"""CodeGen's compiled step: attention and the products of a layer read the same norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import CodeGenForCausalLM

from codegen_lsp.engine.model.compiled import rotation
from codegen_lsp.engine.model.compiled.parts import StepParts, table_of, weights_of
from codegen_lsp.engine.model.compiled.program import StepProgram
from codegen_lsp.engine.model.compiled.step import CompiledStep
from codegen_lsp.engine.model.compiled.workspace import Widths, Workspace
from codegen_lsp.engine.model.passes import Pass
from codegen_lsp.engine.quantized import elementwise
from codegen_lsp.engine.quantized.products import KernelWeights


class CodeGenParts(StepParts):
    """The layers of one CodeGen model."""

    def __init__(
        self,
        module: CodeGenForCausalLM,
        weights: Mapping[nn.Module, KernelWeights],
        table: torch.Tensor,
        turns: torch.Tensor,
        chunks: int,
    ) -> None:
        """Take a model, what `weights_of` says of it, and its rotations of queries and keys as complex numbers."""
        super().__init__(weights)
        first: Any = module.transformer.h[0]
        self.table = table
        self.blocks = list(module.transformer.h)
        self.final_norm = module.transformer.ln_f
        self.head = weights[module.lm_head]
        self.heads = first.attn.num_attention_heads
        self.sharing = 1
        self.width = first.attn.head_dim
        self.division = self.heads // chunks
        self.inner: int = first.mlp.fc_in.out_features
        self._rotary: int = first.attn.pos_embd_dim
        keys = turns[:, 0, 1, 0, : self._rotary // 2]
        self._cosines = keys.real.repeat_interleave(2, -1).contiguous()
        self._sines = torch.stack([-keys.imag, keys.imag], -1).flatten(1).contiguous()
        embedding = self.heads * self.width
        self.context = len(turns)
        self.widths = Widths(embedding, self.inner, 3 * embedding, embedding, self.packs)

    def rotation(self, *, is_half: bool) -> int:
        """Return the address of the kernel that turns neighbouring numbers."""
        return rotation.of_pairs(self.width, self._rotary, is_half=is_half)

    def tables(self, workspace: Workspace, start: int) -> tuple[int, int]:
        """Return the addresses of the tables for all positions."""
        del workspace, start
        return self._cosines.data_ptr(), self._sines.data_ptr()

    def prepare(self, workspace: Workspace, passes: Sequence[Pass]) -> None:
        """Do nothing: the tables are for all positions."""

    def norm(self) -> int:
        """Return the address of the kernel for layer norms."""
        return elementwise.norm()

    def norm_weights(self, norm: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Return the weight, bias and epsilon of a layer norm."""
        return norm.weight, norm.bias, norm.eps


class CodeGenProgram(StepProgram):
    """The program for one arrangement of tokens in a CodeGen model."""

    _step: CodeGenParts

    def _add_layer(self, index: int, block: Any) -> None:
        program, rooms = self._program, self._rows
        self._add_inputs(block.ln_1)
        self._add_product(block.attn.qkv_proj, rooms.normed_inputs, rooms.parts)
        if not self._is_prompt:
            self._add_hidden(block)
        program.meet()
        self._add_rotations(index)
        if not self._is_prompt:
            self._pack(rooms.hidden, rooms.hidden_inputs)
        program.meet()
        self._add_attention(index)
        if self._is_prompt:
            if self._states is not rooms.states:
                self._add_inputs(block.ln_1)
            self._add_hidden(block)
            program.meet()
            self._pack(rooms.hidden, rooms.hidden_inputs)
            program.meet()
        self._add_product(block.attn.out_proj, rooms.mixed_inputs, self._states, adds=True)
        if self._is_prompt:
            program.meet()
        self._add_product(block.mlp.fc_out, rooms.hidden_inputs, self._states, adds=True)
        program.meet()

    def _add_hidden(self, block: Any) -> None:
        """Add the first product of the layer's second part, which reads the same norm as attention."""
        self._add_product(block.mlp.fc_in, self._rows.normed_inputs, self._rows.hidden)
        self._add_activation(block.mlp.fc_in, elementwise.gelu, self._rows.hidden.data_ptr())


def compiled_step(module: CodeGenForCausalLM, turns: torch.Tensor, chunks: int) -> CompiledStep | None:
    """Return the compiled forward pass of a model over few tokens; None if the kernels can't compute it.

    Its weights are in memory, and its norms in float32.
    """
    first: Any = module.transformer.h[0]
    widths = (first.attn.head_dim, first.attn.pos_embd_dim)
    weights, table = weights_of(module, widths), table_of(module.transformer.wte)
    if weights is None or table is None:
        return None
    parts = CodeGenParts(module, weights, table, turns, chunks)
    return CompiledStep(parts, partial(CodeGenProgram, parts))
