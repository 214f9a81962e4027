"""A network's forward pass over few tokens, recorded once for each arrangement of them and replayed from then on.

A step made from torch's calls costs a GPU mostly waiting for Python. A recorded one needs fixed addresses and fixed
sizes: numbers of rows and of new tokens are rounded up to powers of two, and the number of tokens that attention looks
at to powers of two and the numbers halfway between them. What is beyond the filled part is masked; what padding writes
is overwritten by the next step.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from cachetools import LRUCache
from torch.nn.functional import pad

from codegen_lsp.engine.checkpoints.files import first_line
from codegen_lsp.engine.memory import free_memory, is_out_of_memory
from codegen_lsp.engine.model.attention import attend_padded
from codegen_lsp.engine.model.graphs.recorders import Recordable, Recorder
from codegen_lsp.engine.model.graphs.workspace import RowBuffers, Store
from codegen_lsp.engine.model.kv import KVCache
from codegen_lsp.engine.model.kv_forked import ForkedCache
from codegen_lsp.engine.model.kv_layout import Layout
from codegen_lsp.engine.model.passes import Pass, split_logits
from codegen_lsp.engine.rounding import power_of_two

log = logging.getLogger(__name__)

MOST = 16
"""Maximum number of tokens of a step, padding included."""

SMALLEST = 256
"""Minimum number of tokens that attention looks at."""

STEP = 64
"""The largest number of tokens that attention looks at is a multiple of this."""

GRAPHS = 48
"""Maximum number of recorded steps."""

SHARE = 0.5
"""Maximum share of the free memory of a GPU that the workspace may take."""


class LayersSource(Protocol):
    """The network whose steps are recorded, on one device."""

    device: torch.device
    limit: int
    """Maximum number of positions."""
    scale: float
    """What products of queries and keys are multiplied by."""

    def layers(
        self,
        tokens: torch.Tensor,
        order: torch.Tensor,
        attend_to: Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor],
    ) -> Iterator[torch.Tensor]:
        """Yield the residual stream (tokens, width) of tokens and their positions, layer by layer.

        `attend_to` takes rotated queries (tokens, heads, width), values and rotated keys (tokens, 2, …, width) and the
        index of their layer, and returns mixed values (tokens, heads * width).
        """

    def head(self, states: torch.Tensor) -> torch.Tensor:
        """Return the logits (tokens, vocabulary) after states (tokens, width) of the last layer."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What a recorded step computes: new tokens for rows that have up to `span` tokens with them."""

    rows: int
    new: int
    span: int

    @property
    def tokens(self) -> int:
        """Number of tokens that the step reads, padding included."""
        return self.rows * self.new


class StaticStep:
    """The recorded steps of one model on one device."""

    def __init__(self, network: LayersSource, layout: Layout, recorder: Recorder) -> None:
        """Record steps of a network whose KV caches have a layout."""
        self._network = network
        self._layout = layout
        self._recorder = recorder
        self._device = device = network.device
        self._dtype = layout.groups[0].dtype
        self._longest = -(-(network.limit + MOST) // STEP) * STEP
        self._numbers = torch.arange(self._longest, device=device)
        self._given = torch.zeros(3 * MOST, dtype=torch.int64, device=device)
        """Tokens, their positions, and the indices of those whose logits are needed."""
        self._logits: torch.Tensor | None = None
        self._workspace: RowBuffers | None = None
        self._graphs: LRUCache[Arrangement, Recordable] = LRUCache(GRAPHS)
        self._is_off = False

    def logits(self, passes: Sequence[Pass]) -> list[torch.Tensor] | None:
        """Read tokens at the end of KV caches; return logits (rows, kept, vocabulary) on the processor for each pass.

        Returns None, with nothing read, for passes that are not recorded.
        """
        stores = [part.kv for part in passes if isinstance(part.kv, KVCache | ForkedCache)]
        if self._is_off or len(stores) < len(passes):
            return None
        arrangement = self._arrangement(passes)
        if arrangement.tokens > MOST:
            return None
        try:
            workspace = self._workspace_for(arrangement)
            if workspace is None:
                return None
            outputs = self._run(passes, stores, arrangement, workspace)
        except Exception as error:
            self._give_up(error)
            return None
        workspace.give(stores, [part.new for part in passes])
        return split_logits(outputs, passes)

    def _arrangement(self, passes: Sequence[Pass]) -> Arrangement:
        rows = power_of_two(sum(part.rows for part in passes))
        new = power_of_two(max(part.new for part in passes))
        used = max(part.kv.length for part in passes) + new
        return Arrangement(rows, new, min(_span(used), self._longest))

    def _workspace_for(self, arrangement: Arrangement) -> RowBuffers | None:
        """Return a workspace that is large enough, None if there is too little memory for it."""
        current = self._workspace
        if current is not None and current.rows >= arrangement.rows and current.room >= arrangement.span:
            return current
        rows, room = arrangement.rows, min(power_of_two(arrangement.span), self._longest)
        if current is not None:
            rows, room = max(rows, current.rows), max(room, current.room)
        needed = self._layout.bytes_per_token * rows * room
        held = 0 if current is None else self._layout.bytes_per_token * current.rows * current.room
        if needed > held + SHARE * free_memory(self._device):
            return None
        # The recorded steps point into the old workspace.
        self._graphs.clear()
        self._workspace = current = None
        self._workspace = RowBuffers(self._layout, rows, room)
        return self._workspace

    def _run(
        self, passes: Sequence[Pass], stores: Sequence[Store], arrangement: Arrangement, workspace: RowBuffers
    ) -> torch.Tensor:
        """Return the logits (kept, vocabulary) of all passes; their new keys and values are in the workspace."""
        workspace.bring(stores, arrangement.rows)
        given, count = _given(passes, arrangement)
        self._given[: len(given)].copy_(given, non_blocking=True)
        replay = self._graphs.get(arrangement)
        if replay is None:
            replay = self._recorder.record(lambda: self._compute(arrangement, workspace))
            self._graphs[arrangement] = replay
            if len(self._graphs) == 1:
                log.info("steps of up to %d tokens are recorded and replayed", MOST)
        else:
            replay()
        assert self._logits is not None
        return _fetched(self._logits[:count])

    def _compute(self, arrangement: Arrangement, workspace: RowBuffers) -> None:
        """Compute the step of `self._given`, with tensors of this arrangement's sizes only."""
        rows, new, span = arrangement.rows, arrangement.new, arrangement.span
        tokens, positions, kept = self._given[: 3 * arrangement.tokens].view(3, -1)
        places = positions.view(rows, new)
        row_numbers = self._numbers[:rows, None]
        hidden = self._numbers[:span] > places[:, None, :, None]

        def attend_to(queries: torch.Tensor, states: torch.Tensor, index: int) -> torch.Tensor:
            pair = workspace.layers[index]
            heads, width = pair.shape[2], pair.shape[4]
            query = queries.view(rows, new, -1, width).transpose(1, 2)
            states = states.reshape(rows, new, 2, heads, width).to(self._dtype)
            pair.permute(1, 3, 0, 2, 4).index_put_((row_numbers, places), states)
            values, keys = pair[:, :rows, :, :span]
            mixed = attend_padded(query, keys, values, hidden, self._network.scale)
            return mixed.transpose(1, 2).reshape(rows * new, -1)

        # Padding may lie beyond the last position.
        order = positions.clamp(max=self._network.limit - 1)
        last = deque(self._network.layers(tokens, order, attend_to), maxlen=1)[0]
        logits = self._network.head(last[kept])
        if self._logits is None:
            self._logits = torch.empty(MOST, logits.shape[1], device=self._device)
        self._logits[: arrangement.tokens] = logits

    def _give_up(self, error: Exception) -> None:
        self._is_off = True
        self._graphs.clear()
        self._workspace = self._logits = None
        failure = f"{type(error).__name__}: {first_line(error)}"
        reason = "too little memory" if is_out_of_memory(error) else failure
        log.warning("steps are not recorded any more, each makes its calls anew (%s)", reason)
        log.debug("why a step could not be recorded", exc_info=error)


def _given(passes: Sequence[Pass], arrangement: Arrangement) -> tuple[torch.Tensor, int]:
    """Return tokens, positions and kept indices, each padded, concatenated; and the number of kept indices."""
    tokens = torch.cat([pad(part.tokens, (0, arrangement.new - part.new)) for part in passes]).flatten()
    positions: list[int] = []
    kept: list[int] = []
    for part in passes:
        for _ in range(part.rows):
            kept += [len(positions) + index for index in part.kept()]
            positions += range(part.kv.length, part.kv.length + arrangement.new)
    count = arrangement.tokens
    parts = (tokens, torch.tensor(positions), torch.tensor(kept))
    return torch.cat([pad(part, (0, count - len(part))) for part in parts]), len(kept)


def _fetched(outputs: torch.Tensor) -> torch.Tensor:
    """Return a copy of the outputs on the processor, because the next step overwrites them."""
    if outputs.device.type != "cuda":
        return outputs.clone()
    copied = torch.empty(outputs.shape, pin_memory=True)
    copied.copy_(outputs, non_blocking=True)
    torch.cuda.current_stream(outputs.device).synchronize()
    return copied


def _span(used: int) -> int:
    """Return the number of tokens that attention looks at if rows have up to `used`."""
    double = max(SMALLEST, power_of_two(used))
    between = double // 4 * 3
    return between if used <= between and between > SMALLEST else double
