"""Speed on a GPU: steps that are replayed, made of calls, and with int8 weights, beside transformers' `generate`.

Run as `python -m codegen_lsp.evals.benchmarks.speed.gpu [--sizes nano,350M,smollm2-135m] [--rounds 5]
[--out FILE.json]`. Models other than nano get random weights, made on the GPU. Everything is measured in turns, in one
process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from codegen_lsp.engine.memory import release_memory
from codegen_lsp.evals.benchmarks.speed.gpu_models import OTHERS, model_of, module_of, quantize, read_bytes
from codegen_lsp.evals.benchmarks.speed.ours import ModelTimes, milliseconds

STEPS = 32
"""Number of steps of which the median counts, and of tokens that `generate` makes."""

TASKS: Mapping[str, tuple[str, dict[str, int]]] = {
    "decode 256": ("decode", {"tokens": 256}),
    "decode 1024": ("decode", {"tokens": 1024}),
    "decode 1024 x 4": ("decode", {"tokens": 1024, "rows": 4}),
    "prefill 1024": ("prefill", {"tokens": 1024}),
    "keystroke 1024": ("keystroke", {"tokens": 1024}),
}

IDS = 2_000
"""The text's token ids are below this: all models get nano's tokenizer, and an id that it lacks is refused."""

PROBE_BYTES = 2**30

Measurement = Callable[[], float]


class Generate:
    """The `generate` of transformers."""

    def __init__(self, module: Any, text: Sequence[int]) -> None:
        self._module = module
        self._text = torch.tensor([text], device="cuda")

    def decode(self, tokens: int) -> float:
        """Return the milliseconds of a token after `tokens` tokens."""
        first, whole = (milliseconds(lambda n=n: self._make(tokens, n)) for n in (1, 1 + STEPS))  # type: ignore[misc]
        return (whole - first) / STEPS

    def prefill(self, tokens: int) -> float:
        """Return the milliseconds to the first token."""
        return milliseconds(lambda: self._make(tokens, 1))

    @torch.inference_mode()
    def _make(self, tokens: int, new: int) -> None:
        prompt = self._text[:, :tokens]
        self._module.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=new,
            min_new_tokens=new,
            pad_token_id=0,
        )
        torch.cuda.synchronize()


def bandwidth() -> float:
    """Return the bytes per second that the GPU reads and writes when it copies."""
    source = torch.ones(PROBE_BYTES, dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        torch.cuda.synchronize()

    return 2 * PROBE_BYTES / min(milliseconds(copy) for _ in range(10)) * 1000


def contenders(size: str, text: list[int]) -> Iterator[tuple[str, dict[str, Measurement], int]]:
    """Yield what is measured for one size: a name, measurements, and the bytes of weights that a step reads."""
    plain, int8 = module_of(size), module_of(size)
    generate = Generate(plain, text)
    yield (
        "transformers bfloat16",
        {
            "decode 256": lambda: generate.decode(256),
            "decode 1024": lambda: generate.decode(1024),
            "prefill 1024": lambda: generate.prefill(1024),
        },
        read_bytes(plain),
    )
    quantize(int8)
    for name, module, recorded in (
        ("calls bfloat16", plain, False),
        ("graphs bfloat16", plain, True),
        ("graphs int8", int8, True),
    ):
        times = ModelTimes(model_of(module, size, recorded=recorded), text, STEPS)
        yield name, {task: _measurement(times, *what) for task, what in TASKS.items()}, read_bytes(module)


def _measurement(times: ModelTimes, name: str, options: dict[str, int]) -> Measurement:
    return lambda: float(getattr(times, name)(**options))


def measure(size: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield the medians of each contender for one size, after a first round that does not count."""
    text = torch.randint(IDS, (1200,), generator=torch.Generator().manual_seed(1)).tolist()
    engines = list(contenders(size, text))
    values: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):
        for name, tasks, _ in engines:
            for task, measurement in tasks.items():
                value = measurement()
                if number:
                    values.setdefault((name, task), []).append(value)
    for name, tasks, read in engines:
        medians = {task: statistics.median(values[name, task]) for task in tasks}
        yield {"model": size, "engine": name, "read_bytes": read, "milliseconds": medians}


def table(rows: Sequence[dict[str, Any]], speed: float) -> Iterator[str]:
    """Yield the lines of a table: milliseconds, and a step at 256 tokens against the time to read its weights."""
    yield "| model | engine | " + " | ".join(TASKS) + " | decode 256 / bandwidth limit |"
    yield "|---|---|" + "---:|" * (len(TASKS) + 1)
    for row in rows:
        times = row["milliseconds"]
        cells = [f"{times[task]:.3g}" if task in times else "–" for task in TASKS]
        ratio = times["decode 256"] / (row["read_bytes"] / speed * 1000)
        yield f"| {row['model']} | {row['engine']} | " + " | ".join(cells) + f" | {ratio:.2f} |"


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument(
        "--sizes",
        default="nano,350M",
        help=f"nano, sizes of CodeGen, or {', '.join(OTHERS)}, with commas between",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a file for the figures as JSON")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.stderr.write("there is no GPU that torch can use\n")
        return 1
    speed = bandwidth()
    about = {
        "gpu": torch.cuda.get_device_name(0),
        "torch": torch.__version__,
        "bytes_per_second": speed,
        "rounds": options.rounds,
    }
    sys.stdout.write(f"{about['gpu']}, torch {about['torch']}, copies move {speed / 1e12:.2f} TB/s\n")
    rows: list[dict[str, Any]] = []
    for size in options.sizes.split(","):
        rows += measure(size, options.rounds)
        release_memory()
        sys.stdout.write("\n".join(["", *table(rows, speed), ""]))
        sys.stdout.flush()
        if options.out is not None:
            options.out.write_text(json.dumps(about | {"rows": rows}, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
