"""Recorded typing: when a person's editor asked the engine, and how many tokens each request was.

`codegen-lsp eval replay --pace 1 --trace` records them through the real language server. `typing.json` is such a
recording with the bundled model; the model decides little of it, because people type at their own pace.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codegen_lsp.wire.config import ConfigError

BUNDLED = Path(__file__).with_name("typing.json")


@dataclass(frozen=True, slots=True)
class EngineCall:
    """One request to the engine."""

    seconds: float
    """Time since the trace's start."""
    prompt: int
    """Tokens in the prompt."""
    new: int
    """Tokens of the prompt that follow what the engine read for the previous request of the document."""
    written: int
    """Tokens that the engine decodes if nothing cancels it."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The requests of one person in one file."""

    calls: tuple[EngineCall, ...]
    seconds: float
    """Time that the typing took."""


def read(path: Path = BUNDLED) -> tuple[Trace, ...]:
    """Return recorded traces.

    Raises:
        ConfigError: the file can't be read, or holds no traces.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        traces = tuple(
            Trace(
                tuple(EngineCall(float(s), int(p), int(n), int(w)) for s, p, n, w in entry["calls"]),
                float(entry["seconds"]),
            )
            for entry in data["traces"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} holds no recorded typing ({error}); codegen-lsp eval replay --pace 1 --trace writes it"
        ) from error
    if not any(trace.calls for trace in traces):
        raise ConfigError(f"{path} holds no recorded typing")
    return traces


def requests(
    traces: Sequence[Trace], active: float, seconds: float, source: random.Random
) -> Iterator[tuple[float, EngineCall, bool]]:
    """Yield a developer's requests: time, request, and whether it is the first one in a file.

    A developer types a recorded file, then does something else, so that typing takes the share `active` of the time.
    The first trace starts in its middle, so that developers are spread evenly from the start.
    """
    now = -source.random() * sum(trace.seconds for trace in traces) / len(traces) / active
    while now < seconds:
        trace = source.choice(traces)
        for number, call in enumerate(trace.calls):
            if 0 <= now + call.seconds < seconds:
                yield now + call.seconds, call, number == 0
        now += trace.seconds / active * source.uniform(0.5, 1.5)
