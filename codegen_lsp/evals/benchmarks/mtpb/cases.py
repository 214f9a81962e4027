"""MTPB's cases, and the settings of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from codegen_lsp.evals.harness.records import DataError, EvaluationError, read_lines
from codegen_lsp.evals.harness.settings import SampledSettings
from codegen_lsp.evals.sandbox.sandbox import Limits

Turns = Literal["multi", "single"]
Judge = Literal["faithful", "repaired"]

OPENING = "# Import libraries.\n\nimport numpy as np\n\n"
"""Start of every program."""
DEFAULT_TOKENS = 256
"""Maximum number of tokens in a turn if the problem does not say."""
LIMITS = Limits(memory=2**30, output=2**20)


@dataclass(frozen=True)
class Case:
    """One program to write: the steps with their values filled in, and the value that it must print."""

    problem: str
    number: int
    """0-based place among the problem's cases."""
    category: str
    prompts: tuple[str, ...]
    gold: Any
    max_tokens: int = DEFAULT_TOKENS

    @property
    def key(self) -> str:
        """`12/0`."""
        return f"{self.problem}/{self.number}"


@dataclass(frozen=True, kw_only=True)
class MtpbSettings(SampledSettings):
    """Settings of one evaluation."""

    samples: int = 40
    """Samples for each case, as in the paper."""
    turns: Turns = "multi"
    temperature: float = 0.2
    seconds: float = 20.0
    cases: int = 0
    """Number of cases of each problem, from the first; 0 for all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        turns_named(self.turns)
        self.require_temperature(self.temperature)
        self.require(0, "cases")


def read_cases(path: Path, problems: int = 0, cases: int = 0) -> list[Case]:
    """Return the cases in the benchmark's file, ordered by the problems' numbers.

    Inputs and outputs are paired until one of them ends (problem 57 has one output too many).

    Raises:
        DataError: the file can't be read, or is not the benchmark's.
    """
    entries = list(read_lines(path))
    try:
        entries.sort(key=lambda entry: int(entry["id"]))
        chosen = [case for entry in entries[: problems or None] for case in _cases(entry)[: cases or None]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{path} is not the benchmark's mtpb.jsonl ({type(error).__name__}: {error})"
        ) from error
    if not chosen:
        raise DataError(f"{path} holds no problem")
    return chosen


def _cases(entry: Mapping[str, Any]) -> list[Case]:
    pairs = zip(entry["inputs"], entry["outputs"], strict=False)
    return [
        Case(
            problem=str(entry["id"]),
            number=number,
            category=entry["category"],
            prompts=tuple(prompt.format(**values) for prompt in entry["prompts"]),
            gold=gold,
            max_tokens=entry.get("max_gen_length", DEFAULT_TOKENS),
        )
        for number, (values, gold) in enumerate(pairs)
    ]


def turns_named(name: str) -> Turns:
    """Return `multi` or `single`.

    Raises:
        EvaluationError: the name is another one.
    """
    return cast("Turns", _one_of("turns", get_args(Turns), name))


def judge_named(name: str) -> Judge:
    """Return `faithful` or `repaired`.

    Raises:
        EvaluationError: the name is another one.
    """
    return cast("Judge", _one_of("the judge", get_args(Judge), name))


def _one_of(what: str, allowed: tuple[str, ...], name: str) -> str:
    if name not in allowed:
        raise EvaluationError(f"{what} must be {' or '.join(allowed)}, got {name!r}")
    return name


def settings_of(settings: MtpbSettings, data: Path) -> dict[str, Any]:
    """Return the settings as the evaluation's folder stores them."""
    return asdict(settings) | {"data": data.name}
