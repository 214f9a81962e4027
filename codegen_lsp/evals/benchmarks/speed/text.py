"""The text that every engine reads: source files of this package, as tokens of the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

import codegen_lsp
from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.evals.benchmarks.speed.values import BITS_TOKENS, SpeedSettings
from codegen_lsp.evals.harness.records import EvaluationError
from codegen_lsp.wire.config import EngineConfig

SOURCES = "wire/*.py"


@dataclass(frozen=True, slots=True)
class BenchText:
    """A text as tokens, and the bytes of the part that the accuracy is measured on."""

    tokens: list[int]
    bytes: int


def bench_text(settings: SpeedSettings) -> BenchText:
    """Return as many tokens as the settings need.

    Raises:
        CheckpointError: the model is not on this machine.
        EvaluationError: the model has no `tokenizer.json`.
    """
    folder = locate.locate(locate.of(EngineConfig(model=settings.model)))
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise EvaluationError(f"{folder} has no tokenizer.json")
    tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    files = sorted(Path(codegen_lsp.__path__[0]).glob(SOURCES))
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    longest = max(settings.tokens)
    ids = tokenizer.encode(text).ids[: longest + settings.steps + 1]
    counted = ids[1 : min(BITS_TOKENS, longest)]
    return BenchText(ids, len(tokenizer.decode(counted, skip_special_tokens=False).encode()))
