"""The settings that evaluations of written programs share, and what is allowed for them."""

from __future__ import annotations

from dataclasses import dataclass

from codegen_lsp.evals.harness.records import EvaluationError


@dataclass(frozen=True, kw_only=True)
class JudgedSettings:
    """Settings of an evaluation that runs what a model has written."""

    seconds: float = 3.0
    """Wall-clock limit of one program."""

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise EvaluationError(f"seconds must be positive, got {self.seconds:g}")

    def require(self, least: int, *names: str) -> None:
        """Check settings that must not be below a number.

        Raises:
            EvaluationError: one of them is.
        """
        for name in names:
            if getattr(self, name) < least:
                raise EvaluationError(f"{name} must be {least} or more, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class SampledSettings(JudgedSettings):
    """Settings of an evaluation of samples; the same settings give the same samples."""

    samples: int
    """Samples for each case."""
    top_p: float = 0.95
    seed: int = 0
    problems: int = 0
    """Number of problems, from the first; 0 for all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(1, "samples")
        self.require(0, "problems")

    @staticmethod
    def require_temperature(temperature: float) -> None:
        """Check a sampling temperature.

        Raises:
            EvaluationError: it is below 0 or above 2.
        """
        if not 0 <= temperature <= 2:
            raise EvaluationError(f"temperatures must be from 0 to 2, got {temperature:g}")
