"""The memory that a model's programs compute in: one at a time, so those of steps share it, and those of prompts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from codegen_lsp.engine.quantized.packing import PackedRows
from codegen_lsp.engine.quantized.product_kernels import amx, vectors

Inputs = PackedRows | torch.Tensor
"""Rows as products read them: integers, or floats for weights in bfloat16."""


@dataclass(frozen=True, slots=True)
class Widths:
    """How many numbers a model has for each token, and where."""

    state: int
    """In the residual stream."""
    inner: int
    """Between a layer's second products."""
    projected: int
    """In queries, keys and values together."""
    attended: int
    """In queries."""
    packs: bool
    """Whether products take inputs in integers."""
    gated: bool = False
    """Whether the inner numbers have gates."""
    turned: int = 0
    """In the tables of cosines and sines, if each pass writes its own."""


class Workspace:
    """Rows for some tokens, and for those that fill up tiles."""

    def __init__(self, widths: Widths, tokens: int) -> None:
        """Make room for up to `tokens` tokens of one model."""
        self.tokens = tokens
        rows = tokens + max(amx.ROWS, vectors.largest_tile()[0])
        self.order = torch.arange(rows)
        self.states = torch.zeros(rows, widths.state)
        """The residual stream."""
        self.kept = torch.zeros(rows, widths.state)
        """That of the tokens whose logits are needed."""
        self.normed = torch.zeros(rows, widths.state)
        self.parts = torch.zeros(rows, widths.projected)
        """Queries, keys and values."""
        self.queries = torch.zeros(rows, widths.attended)
        self.mixed = torch.zeros(rows, widths.attended)
        self.hidden = torch.zeros(rows, widths.inner)
        self.gates = torch.zeros(rows if widths.gated else 0, widths.inner)
        floats = (self.normed, self.mixed, self.hidden)
        inputs: list[Inputs] = [PackedRows.empty(*each.shape) if widths.packs else each for each in floats]
        self.normed_inputs, self.mixed_inputs, self.hidden_inputs = inputs
        self.cosines, self.sines = torch.zeros(2, rows, widths.turned)
        self._scratch = torch.empty(0)

    def scratch(self, floats: int) -> torch.Tensor:
        """Return the scratch of attention for all threads, with so much room or more."""
        if len(self._scratch) < floats:
            self._scratch = torch.empty(floats)
        return self._scratch
