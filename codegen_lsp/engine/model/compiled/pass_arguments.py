"""Where the kernels find the keys and values of one request, and what they compute of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codegen_lsp.engine.model.compiled import rotation
from codegen_lsp.engine.model.compiled.parts import StepParts
from codegen_lsp.engine.model.compiled.workspace import Workspace
from codegen_lsp.engine.model.kv_layers import KEYS, VALUES, BufferLayer, ForkedLayer
from codegen_lsp.engine.model.passes import Pass
from codegen_lsp.engine.quantized import attention
from codegen_lsp.engine.quantized.attention_kernels import steps
from codegen_lsp.engine.quantized.formats import FEW_ROWS
from codegen_lsp.engine.quantized.program import Arguments, arguments

BEFORE, POSITION, KEY_PLACE, VALUE_PLACE = (
    rotation.FIELDS.index(name) for name in ("before", "position", "keys", "values")
)
SHARED, OWN, OWN_KEYS, OWN_VALUES = (
    steps.FIELDS.index(name) for name in ("shared", "own", "own_keys", "own_values")
)

PassKind = tuple[int, int, bool]
"""Numbers of rows and of new tokens in each; whether keys and values are in bfloat16."""


def scratch_for(step: StepParts, kinds: Sequence[PassKind]) -> int:
    """Return the floats of scratch that a thread needs for attention, in a pass over requests of some kinds.

    All of the pass's kernels have the same: a thread may be at the next one while another isn't.
    """
    length = step.context + FEW_ROWS
    most = max(attention.scratch_for(new, rows * new, length, step.width) for rows, new, _ in kinds)
    return -(-most // steps.TOKENS) * steps.TOKENS


class PassArguments:
    """The arguments of the kernels that compute one request's part, in each layer."""

    def __init__(self, step: StepParts, rooms: Workspace, kind: PassKind, start: int, scratch: int) -> None:
        """Take the request whose first token is number `start` of a forward pass; threads have `scratch` floats."""
        rows, new, self.is_half = kind
        self._step, self._rows, self._new = step, rows, new
        self.is_long = attention.is_long(new)
        self._room = attention.room_of(new, scratch)
        queries, mixed = rooms.queries[start:].data_ptr(), rooms.mixed[start:].data_ptr()
        self._places = rooms.parts[start:].data_ptr(), queries, *step.tables(rooms, start)
        self._scratch = rooms.scratch(step.threads.most * scratch)
        self._results = queries, mixed, self._scratch.data_ptr()
        self.rotations = [_rotation() for _ in step.blocks]
        self.attentions = [attention.Argument() for _ in step.blocks]
        self._placed: object = None
        """`BufferCache.place` of the buffers that the arguments are made for."""

    @property
    def kernel(self) -> int:
        """The address of the kernel for attention."""
        kernel = attention.kernel_for(self._new, self._step.width, is_half=self.is_half)
        assert kernel is not None
        return kernel

    def place(self, part: Pass) -> None:
        """Write where the new tokens are, and what they attend to."""
        cache: Any = part.kv.cache
        layers: list[Any] = cache.layers
        if self._placed is not cache.place:
            for each in zip(self.rotations, self.attentions, layers, strict=True):
                self._place(*each)
            self._placed = cache.place
        position, first = part.kv.length, layers[0]
        before, forks = position - first.shared_length, isinstance(first, ForkedLayer)
        # Of a row's own positions these are the new ones, of those that all see the ones before.
        offset = before * self._step.width * first.pair.element_size()
        for turning, mixing in zip(self.rotations, self.attentions, strict=True):
            turning[BEFORE], turning[POSITION] = before, position
            if forks:
                mixing[OWN] = before + self._new
            else:
                mixing[SHARED] = before
                mixing[OWN_KEYS], mixing[OWN_VALUES] = (
                    turning[KEY_PLACE] + offset,
                    turning[VALUE_PLACE] + offset,
                )

    def _place(self, turning: Arguments, mixing: Arguments, layer: BufferLayer) -> None:
        """Write what stays as long as a layer has the same buffer."""
        step, rows, new = self._step, self._rows, self._new
        pair = layer.pair
        size, base = pair.element_size(), pair.data_ptr()
        row_step, head_step = pair.stride()[1:3]
        keys, values = (base + which * pair.stride(0) * size for which in (KEYS, VALUES))
        counts = rows, new, step.heads, step.division
        turning[:] = [*counts, 0, 0, row_step, head_step, keys, values, *self._places]
        query, outputs, scratch = self._results
        if isinstance(layer, ForkedLayer):
            shared_keys, shared_values = layer.shared
            groups, own, border = 1, 0, layer.prompt
            shared_steps = 0, shared_keys.stride(0)
            shared = shared_keys.data_ptr(), shared_values.data_ptr()
        else:
            groups, own, border = rows, new, 0
            shared_steps, shared = (row_step, head_step), (keys, values)
        mixing[:] = [
            step.heads,
            step.sharing,
            groups,
            rows * new // groups,
            new,
            border,
            own,
            *shared_steps,
            row_step,
            head_step,
            self._room,
            query,
            *shared,
            keys,
            values,
            outputs,
            scratch,
            0,
        ]


def _rotation() -> Arguments:
    return arguments(*[0] * len(rotation.FIELDS))
