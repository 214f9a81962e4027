"""What is measured, and whom: settings, tasks and the engines that take part."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from codegen_lsp.evals.harness.records import EvaluationError

OURS = "codegen-lsp"
LLAMA_CPP = "llama.cpp Q8_0"
MACHINE = "machine"
OUR_FORMATS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32", "quantize": "none"},
    "bfloat16": {"dtype": "bfloat16", "quantize": "none"},
    "int8": {"quantize": "int8"},
    "int4": {"quantize": "int4"},
}
"""The number formats of our engine, as fields of its configuration."""
ROWS = (4, 8)
BITS_TOKENS = 256
"""Maximum number of tokens of the text on which the accuracy is measured."""


@dataclass(frozen=True, slots=True)
class SpeedSettings:
    """What a run measures; a run goes on only with the same settings."""

    model: str
    tokens: tuple[int, ...] = (256, 1024)
    """Numbers of tokens that are read before a step is timed."""
    rounds: int = 7
    steps: int = 8
    """Number of decoding steps of a round; their median counts."""
    threads: int = 0
    """Number of processor threads of every engine; 0 takes one for each core."""
    engines: tuple[str, ...] = ()
    """Names of the engines that take part; empty for all."""


@dataclass(frozen=True, slots=True)
class ContenderSpec:
    """An engine with a number format."""

    name: str
    kind: str
    """The class in `contenders` or `peers` that runs it."""
    format: str
    package: str = ""
    """The package that must be installed for it."""


def chosen(names: Collection[str] = ()) -> list[ContenderSpec]:
    """Return the machine's memory and the engines with these names; without names, all engines.

    Raises:
        EvaluationError: a name is not that of an engine.
    """
    specs = contenders()
    known = [spec.name for spec in specs[1:]]
    if unknown := [name for name in names if name not in known]:
        raise EvaluationError(f"unknown engine {unknown[0]!r}: choose from {', '.join(known)}")
    return [spec for spec in specs if not names or spec.name in (MACHINE, *names)]


def contenders() -> list[ContenderSpec]:
    """Return all engines that can take part, the machine's memory first."""
    return [
        ContenderSpec(MACHINE, "machine", ""),
        *(ContenderSpec(f"{OURS} {name}", "ours", name) for name in OUR_FORMATS),
        ContenderSpec("transformers float32", "transformers", "float32"),
        *(
            ContenderSpec(f"llama.cpp {name.upper()}", "llama_cpp", name, "llama_cpp")
            for name in ("f16", "q8_0", "q4_0")
        ),
        ContenderSpec("CTranslate2 int8", "ctranslate2", "int8", "ctranslate2"),
        ContenderSpec("OpenVINO GenAI Q8_0", "openvino", "q8_0", "openvino_genai"),
    ]


SpeedTask = dict[str, Any]


def tasks(settings: SpeedSettings) -> Iterator[SpeedTask]:
    """Yield what one round asks of each engine."""
    for tokens in settings.tokens:
        yield {"task": "prefill", "tokens": tokens}
        yield {"task": "decode", "tokens": tokens, "rows": 1}
    longest = max(settings.tokens)
    yield {"task": "keystroke", "tokens": longest}
    for rows in ROWS:
        yield {"task": "decode", "tokens": longest, "rows": rows}


def label(task: SpeedTask) -> str:
    """Return the heading of a task's column: `decode 256`, `decode 1024 × 4`."""
    rows = task.get("rows", 1)
    return f"{task['task']} {task['tokens']}" + (f" × {rows}" if rows > 1 else "")
