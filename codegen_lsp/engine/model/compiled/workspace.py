"""The memory that a model's programs compute in: one at a time, so they share it."""

from __future__ import annotations

import torch

from codegen_lsp.engine.quantized import attention, attention_kernel, kernels, team
from codegen_lsp.engine.quantized.layers import FEW_ROWS
from codegen_lsp.engine.quantized.packing import PackedRows

Inputs = PackedRows | torch.Tensor
"""Rows as products read them: integers, or floats for weights in bfloat16."""


class Workspace:
    """Rows for up to `FEW_ROWS` tokens, and for those that fill up tiles."""

    def __init__(self, width: int, inner: int, positions: int, *, packs: bool) -> None:
        """Make room for a model of these widths; with `packs` products take inputs in integers."""
        rows = FEW_ROWS + kernels.most_rows()
        self.states = torch.zeros(rows, width)
        """The residual stream."""
        self.normed = torch.zeros(rows, width)
        self.parts = torch.zeros(rows, 3 * width)
        """Queries, values and keys."""
        self.queries = torch.zeros(rows, width)
        self.mixed = torch.zeros(rows, width)
        self.hidden = torch.zeros(rows, inner)
        floats = (self.normed, self.mixed, self.hidden)
        inputs: list[Inputs] = [PackedRows.empty(*each.shape) if packs else each for each in floats]
        self.normed_inputs, self.mixed_inputs, self.hidden_inputs = inputs
        self.room = attention.room_for(positions + FEW_ROWS)
        """Floats of scratch that attention needs for one token."""
        self._scratch = torch.empty(0)

    def scratch(self) -> torch.Tensor:
        """Return the scratch of attention for the current number of threads."""
        size = team.thread_count() * attention_kernel.TOKENS * self.room
        if len(self._scratch) < size:
            self._scratch = torch.empty(size)
        return self._scratch
