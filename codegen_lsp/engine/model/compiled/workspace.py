"""The memory that a model's programs compute in: one at a time, so they share it."""

from __future__ import annotations

import torch

from codegen_lsp.engine.quantized import attention, kernels
from codegen_lsp.engine.quantized.attention_kernels import steps
from codegen_lsp.engine.quantized.formats import FEW_ROWS
from codegen_lsp.engine.quantized.packing import PackedRows

Inputs = PackedRows | torch.Tensor
"""Rows as products read them: integers, or floats for weights in bfloat16."""


class Workspace:
    """Rows for up to `FEW_ROWS` tokens, and for those that fill up tiles."""

    def __init__(
        self,
        width: int,
        inner: int,
        projected: int,
        attended: int,
        positions: int,
        *,
        packs: bool,
        gated: bool = False,
    ) -> None:
        """Make room for one model.

        Args:
            width: numbers in a token's state.
            inner: numbers between a layer's second products.
            projected: numbers of a token's queries, keys and values together.
            attended: numbers of its queries.
            positions: maximum number of tokens that attention looks at.
            packs: whether products take inputs in integers.
            gated: whether the inner numbers have gates.
        """
        rows = FEW_ROWS + kernels.largest_tile()[0]
        self.states = torch.zeros(rows, width)
        """The residual stream."""
        self.normed = torch.zeros(rows, width)
        self.parts = torch.zeros(rows, projected)
        """Queries, keys and values."""
        self.queries = torch.zeros(rows, attended)
        self.mixed = torch.zeros(rows, attended)
        self.hidden = torch.zeros(rows, inner)
        self.gates = torch.zeros(rows if gated else 0, inner)
        floats = (self.normed, self.mixed, self.hidden)
        inputs: list[Inputs] = [PackedRows.empty(*each.shape) if packs else each for each in floats]
        self.normed_inputs, self.mixed_inputs, self.hidden_inputs = inputs
        self.room = attention.room_for(positions + FEW_ROWS)
        """Floats of scratch that attention needs for one token."""
        self._scratch = torch.empty(0)

    def scratch(self, threads: int) -> torch.Tensor:
        """Return the scratch of attention for a number of threads."""
        size = threads * steps.TOKENS * self.room
        if len(self._scratch) < size:
            self._scratch = torch.empty(size)
        return self._scratch
