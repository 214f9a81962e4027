"""How long a replica takes: measured on a running engine, or computed from a model's size and a device's data sheet.

A decoding step reads all weights once, whatever the number of its rows, and the keys and values of each row; a prompt
is bounded by arithmetic instead (Pope et al. 2022, *Efficiently Scaling Transformer Inference*, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import msgspec

from codegen_lsp.cluster.plan.accelerators import Accelerator
from codegen_lsp.engine.checkpoints.dimensions import Dimensions
from codegen_lsp.wire.config import ConfigError


@dataclass(frozen=True, slots=True)
class Service:
    """The service times of one replica, in seconds."""

    request: float
    """Overhead of a request, outside of its steps."""
    step: float
    """Time of a decoding step with one row and no prompt."""
    row: float
    """What each further row adds to a step."""
    token: float
    """Time to read one token of a prompt."""
    context: float
    """What each token in a row's context adds to a step."""
    cache: int
    """Tokens that a replica's prefix cache holds."""

    def iteration(self, rows: int, context: int, prefill: int) -> float:
        """Return the seconds of one iteration with these rows, with `context` tokens in all, and a prompt's chunk.

        The weights are read once for both, so an iteration takes a step or the arithmetic of the chunk, whichever is
        longer, and what the rows add.
        """
        return max(self.step, self.token * prefill) + self.row * max(0, rows - 1) + self.context * context


BYTES_PER_WEIGHT = 2
"""Weights, keys and values in bfloat16 or float16."""

BANDWIDTH_SHARE = 0.7
"""Share of the memory bandwidth of the data sheet that decoding reaches."""

ARITHMETIC_SHARE = 0.45
"""Share of the arithmetic of the data sheet that reading a prompt reaches."""

STEP_OVERHEAD = 0.001
"""Seconds of a step that are not spent in the device."""

REQUEST_OVERHEAD = 0.004
"""Seconds of a request outside of the engine's steps: HTTP, the proxy, tokenization."""

USABLE_MEMORY = 0.9


def computed(model: Dimensions, device: Accelerator, devices: int = 1) -> Service:
    """Return the service times of a model whose layers are split over the `devices` of one replica.

    Raises:
        ConfigError: the weights do not fit.
    """
    weights = model.weight_bytes(BYTES_PER_WEIGHT)
    memory = device.memory * devices * USABLE_MEMORY
    if weights > memory * 0.8:
        raise ConfigError(
            f"{model.name} takes {weights / 1e9:.0f} GB, too much for {devices} x {device.name}; "
            "raise --gpus-per-replica"
        )
    bandwidth, arithmetic = device.bandwidth * BANDWIDTH_SHARE, device.arithmetic * ARITHMETIC_SHARE
    per_token = 2 * model.layers * model.width * BYTES_PER_WEIGHT
    return Service(
        request=REQUEST_OVERHEAD,
        step=STEP_OVERHEAD + weights / bandwidth,
        row=2 * model.parameters / arithmetic,
        token=2 * model.parameters / arithmetic,
        context=per_token / bandwidth,
        cache=int((memory - weights) / per_token),
    )


def read(path: Path) -> Service:
    """Return service times from a file: the fields of `Service` as JSON, in seconds.

    Raises:
        ConfigError: the file can't be read, or a field is missing, unknown or not a positive number.
    """
    try:
        return msgspec.convert(msgspec.json.decode(path.read_bytes()), Service, strict=True)
    except (OSError, msgspec.MsgspecError) as error:
        names = ", ".join(field.name for field in fields(Service))
        raise ConfigError(f"{path} holds no service times ({error}); it needs {names}") from error
