"""Say which of the named models suits a machine: the best one that fits and answers before a person has typed on.

A decoded token reads all weights once, so its time is that of reading them; a suggestion is the rest of a line, about
ten tokens. The times are estimates: they take the bandwidth that was measured, and a share of it that decoding reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codegen_lsp.engine.advice.machine import GIB, MachineMemory
from codegen_lsp.engine.advice.named_models import NamedModel, named_models

LINE = 10
"""Tokens of a suggestion for the rest of a line."""
PATIENCE = 0.3
"""Seconds after which a suggestion comes too late."""
REACHED = 0.6
"""Share of the measured bandwidth at which the weights of a step are read."""
STEP = 0.002
"""Seconds that a step takes apart from reading weights."""

FORMATS = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.06, "int4": 0.63}
"""Bytes per weight, scales included."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a model would take on a machine, at one number format."""

    model: NamedModel
    format: str
    """The format that is timed: the one in which it fits and is most accurate."""
    sizes: dict[str, int]
    """Bytes of the weights by format."""
    fits: bool
    key: float
    """Seconds until a keystroke is read: one step."""
    line: float
    """Seconds until the rest of a line is there."""

    @property
    def in_time(self) -> bool:
        """Whether a suggestion comes before a person has typed on."""
        return self.fits and self.line <= PATIENCE

    def to_json(self) -> dict[str, Any]:
        """Return what `models recommend --json` prints."""
        model = {key: value for key, value in asdict(self.model).items() if key not in ("order", "tables")}
        times = {"key_ms": round(self.key * 1000, 1), "line_ms": round(self.line * 1000, 1)}
        return {**model, "weight_bytes": self.sizes, "format": self.format, "fits": self.fits, **times}


def advise(machine: MachineMemory, models: Sequence[NamedModel] | None = None) -> list[Advice]:
    """Return what each of the named models would take on a machine."""
    return [_advice(machine, model) for model in (named_models() if models is None else models)]


def best(advices: Sequence[Advice]) -> Advice | None:
    """Return the best model that answers in time; the fastest that fits if none does; None if none fits."""
    candidates = [advice for advice in advices if advice.fits and advice.model.order]
    in_time = [advice for advice in candidates if advice.in_time]
    if in_time:
        return max(in_time, key=lambda advice: advice.model.order)
    return min(candidates, key=lambda advice: advice.line, default=None)


def sentence(advice: Advice) -> str:
    """Say what a model takes: `350M-mono at int8: 0.35 GiB, about 120 ms for the rest of a line`."""
    size = advice.sizes[advice.format] / GIB
    fills = ", fills in the middle" if advice.model.fills else ""
    time = f"about {advice.line * 1000:.0f} ms for the rest of a line"
    return f"{advice.model.name} at {advice.format}: {size:.2f} GiB, {time}{fills} ({advice.model.licence})"


def _advice(machine: MachineMemory, model: NamedModel) -> Advice:
    sizes = {name: model.weight_bytes(width) for name, width in FORMATS.items()}
    chosen = _format(machine, sizes)
    key = model.step_bytes(FORMATS[chosen]) / (machine.bandwidth * REACHED) + STEP
    return Advice(model, chosen, sizes, sizes[chosen] <= machine.room, key, LINE * key)


def _format(machine: MachineMemory, sizes: dict[str, int]) -> str:
    """Return the format that a machine would use: 16 bits on a GPU; on a processor int8, or int4 for want of room."""
    order = ("bfloat16",) if machine.device != "cpu" else ("int8", "int4")
    return next((name for name in order if sizes[name] <= machine.room), order[-1])
