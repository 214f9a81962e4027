"""Where the kernels find the keys and values of one request, and what they compute of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from codegen_lsp.engine.model.compiled import rotation
from codegen_lsp.engine.model.compiled.parts import StepParts
from codegen_lsp.engine.model.kv_layers import KEYS, VALUES, BufferLayer, ForkedLayer
from codegen_lsp.engine.model.passes import Pass
from codegen_lsp.engine.quantized import attention
from codegen_lsp.engine.quantized.program import Arguments, arguments

PassKind = tuple[int, int, bool]
"""Numbers of rows and of new tokens in each; whether keys and values are in bfloat16."""


class PassArguments:
    """The arguments of the kernels that compute one request's part, in each layer."""

    def __init__(self, step: StepParts, kind: PassKind, start: int, scratch: torch.Tensor) -> None:
        """Take the request whose first token is number `start` of a forward pass."""
        rows, new, self.is_half = kind
        self._step, self._rows, self._new = step, rows, new
        rooms = step.workspace
        queries, mixed = rooms.queries[start:].data_ptr(), rooms.mixed[start:].data_ptr()
        self._places = rooms.parts[start:].data_ptr(), queries, *step.tables(start)
        self._results = queries, mixed, scratch.data_ptr()
        self.rotations = [_rotation() for _ in step.blocks]
        self.attentions = [attention.Argument() for _ in step.blocks]

    def place(self, part: Pass, layers: Sequence[Any]) -> None:
        """Write where the new tokens are, and what they attend to."""
        position = part.kv.length
        for turning, mixing, layer in zip(self.rotations, self.attentions, layers, strict=True):
            self._place(turning, mixing, layer, position)

    def _place(self, turning: Arguments, mixing: Arguments, layer: BufferLayer, position: int) -> None:
        step, rows, new = self._step, self._rows, self._new
        pair = layer.pair
        size, base = pair.element_size(), pair.data_ptr()
        row_step, head_step = pair.stride()[1:3]
        keys, values = (base + which * pair.stride(0) * size for which in (KEYS, VALUES))
        before = layer.length - layer.shared_length
        turning[:] = [
            rows,
            new,
            step.heads,
            step.division,
            before,
            position,
            row_step,
            head_step,
            keys,
            values,
            *self._places,
        ]
        query, outputs, scratch = self._results
        if isinstance(layer, ForkedLayer):
            shared_keys, shared_values = layer.shared
            groups, tail, border = 1, before + new, layer.prompt
            shared_steps = 0, shared_keys.stride(0)
            shared = shared_keys.data_ptr(), shared_values.data_ptr()
            own_places = keys, values
        else:
            groups, tail, border = rows, new, before
            shared_steps, shared = (row_step, head_step), (keys, values)
            offset = before * step.width * size
            own_places = keys + offset, values + offset
        mixing[:] = [
            step.heads,
            step.sharing,
            groups,
            rows * new // groups,
            new,
            border,
            tail,
            *shared_steps,
            row_step,
            head_step,
            step.workspace.room,
            query,
            *shared,
            *own_places,
            outputs,
            scratch,
        ]


def _rotation() -> Arguments:
    return arguments(*[0] * len(rotation.FIELDS))
