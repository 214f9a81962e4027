"""The process of one engine: reads one task per line from standard input, and answers with one line of JSON.

Run as `python -m codegen_lsp.evals.benchmarks.speed.child SPECIFICATION`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any, Protocol

import psutil

MODULES = {
    "machine": "ours:MemoryProbe",
    "ours": "ours:OurEngine",
    "transformers": "peers:Transformers",
    "llama_cpp": "peers:LlamaCpp",
    "ctranslate2": "peers:CTranslate2",
    "openvino": "peers:OpenVINO",
}


class Contender(Protocol):
    """An engine that is measured. A task that it does not have is answered with None."""

    weight_bytes: int

    def decode(self, tokens: int, rows: int = 1) -> float | None:
        """Return the milliseconds of one step of `rows` rows after `tokens` tokens."""

    def prefill(self, tokens: int) -> float | None:
        """Return the milliseconds to read a prompt of `tokens` tokens."""

    def keystroke(self, tokens: int) -> float | None:
        """Return the milliseconds to the first token after a prompt that is cached but for its last token."""

    def bits(self, count: int) -> float | None:
        """Return the bits that the text's first `count` tokens take after the first one."""


def answer(contender: Contender, task: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a task."""
    name = task.pop("task")
    if name == "memory":
        return {"value": psutil.Process().memory_full_info().pss / 2**20}
    return {"value": getattr(contender, name)(**task)}


def main() -> None:
    """Load the engine that the first argument describes, and do tasks until standard input ends."""
    specification = json.loads(sys.argv[1])
    # Libraries print to standard output; only answers may.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(line: dict[str, Any]) -> None:
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    try:
        module, _, name = MODULES[specification["kind"]].partition(":")
        package = importlib.import_module(f"codegen_lsp.evals.benchmarks.speed.{module}")
        contender: Contender = getattr(package, name)(specification)
    except Exception as error:
        say({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"})
        return
    say({"value": contender.weight_bytes})
    for line in sys.stdin:
        try:
            say(answer(contender, json.loads(line)))
        except Exception as error:
            say({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"})


if __name__ == "__main__":
    main()
