"""The steps of a request and what they have cost so far.

Imports no torch, so that the HTTP side can import it before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from codegen_lsp.engine.model.passes import Pass

Step = Literal["prefill", "decode"]
"""The kind of one forward pass."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A forward pass that a request needs next. Its logits are sent back into the request's steps."""

    kind: Step
    part: Pass


Steps = Generator[Planned | Step, Any, None]
"""A request as steps. Each item is a forward pass to be made, or the kind of one that the request made itself."""


@dataclass(slots=True)
class DecodeProgress:
    """Counts of tokens, and times in milliseconds."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    prefilled_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    timings: dict[str, float] = field(default_factory=lambda: {"prefill_ms": 0.0, "decode_ms": 0.0})

    @property
    def counts(self) -> tuple[int, ...]:
        """The counts of tokens, in the order of the fields."""
        return (
            self.prompt_tokens,
            self.completion_tokens,
            self.cached_tokens,
            self.prefilled_tokens,
            self.drafted_tokens,
            self.accepted_tokens,
        )
