"""What a request has cost so far. No torch, so that the HTTP side can import it before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Step = Literal["prefill", "decode"]
"""The kind of one forward pass."""


@dataclass(slots=True)
class DecodeProgress:
    """Counts of tokens, and times in milliseconds."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    prefilled_tokens: int = 0
    timings: dict[str, float] = field(default_factory=lambda: {"prefill_ms": 0.0, "decode_ms": 0.0})
