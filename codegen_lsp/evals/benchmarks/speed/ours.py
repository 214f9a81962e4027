"""Our engine without its HTTP side, and the memory of this machine, as they are measured."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.decode.generate import generate
from codegen_lsp.engine.decode.progress import DecodeProgress
from codegen_lsp.engine.decode.prompts import prepare
from codegen_lsp.engine.decode.reading import Reading
from codegen_lsp.engine.decode.shared import run
from codegen_lsp.engine.model.kv_store import KVStore
from codegen_lsp.engine.model.loading import load
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.prefix_cache import MOST_BYTES, PrefixCache
from codegen_lsp.evals.benchmarks.speed.values import OUR_FORMATS
from codegen_lsp.wire.config import EngineConfig
from codegen_lsp.wire.requests import CompletionRequest

PROBE_BYTES = 2**28


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long the work took."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def threads_of(specification: Mapping[str, Any]) -> int:
    """Return the number of threads that an engine takes, one for each core unless it is given."""
    return int(specification["threads"] or os.cpu_count() or 1)


class MemoryProbe:
    """The memory of this machine: how fast it can be read."""

    weight_bytes = PROBE_BYTES

    def __init__(self, specification: dict[str, Any]) -> None:
        torch.set_num_threads(threads_of(specification))
        self._block = torch.ones(PROBE_BYTES // 4)

    def bandwidth(self) -> float:
        """Return the bytes that are read per second, the best of three times."""
        return PROBE_BYTES / min(milliseconds(self._block.sum) for _ in range(3)) * 1000


class ModelTimes:
    """A model with a prefix cache and the engine's decoding, in this process."""

    def __init__(self, model: Model, text: list[int], steps: int) -> None:
        """Measure with the tokens of a text; a time of a step is the median of `steps` of them."""
        self._model = model
        self._text = text
        self._steps = steps
        self._caches: dict[int, KVStore] = {}
        self._prefixes = PrefixCache(MOST_BYTES)
        self.weight_bytes = sum(weight.nbytes for weight in self._model.module.parameters())

    def decode(self, tokens: int, rows: int = 1) -> float:
        """Return the median time of a step: a forward pass, and the choice of the likeliest token."""
        kv = self._filled(tokens)
        branch = self._model.part(kv, rows, self._steps)
        step = torch.tensor([[self._text[tokens]]]).expand(rows, 1)
        times = [
            milliseconds(lambda: self._model.forward(step, branch).argmax(-1)) for _ in range(self._steps)
        ]
        kv.crop(tokens)
        return statistics.median(times)

    def prefill(self, tokens: int) -> float:
        """Return the time to read a prompt in chunks."""
        return milliseconds(lambda: self._read(tokens))

    def keystroke(self, tokens: int) -> float:
        """Return the time of a request for one token, through the prefix cache."""
        self._request(self._text[: tokens - 1])
        return milliseconds(lambda: self._request(self._text[:tokens]))

    def bits(self, count: int) -> float:
        """Return the bits of the first tokens after the first one."""
        tokens = torch.tensor([self._text[:count]])
        logits = self._model.forward(tokens, self._model.new_cache(count), count)
        return bits_of(logits[0], self._text[:count])

    def _filled(self, tokens: int) -> KVStore:
        if tokens not in self._caches:
            self._caches[tokens] = self._read(tokens)
        return self._caches[tokens]

    def _read(self, tokens: int) -> KVStore:
        kv = self._model.new_cache(tokens + self._steps)
        chunk = self._model.prefill_chunk
        for start in range(0, tokens, chunk):
            self._model.forward(torch.tensor([self._text[start : min(tokens, start + chunk)]]), kv)
        return kv

    def _request(self, prompt: list[int]) -> None:
        request = CompletionRequest(prompts=(tuple(prompt),), max_tokens=1, temperature=0)
        reading = Reading(self._model, self._prefixes, DecodeProgress(), self._model.prefill_chunk)
        for _ in run(self._model, generate(reading, request, prepare(self._model, request), lambda _: None)):
            pass


class OurEngine(ModelTimes):
    """The engine's model as a specification says."""

    def __init__(self, specification: dict[str, Any]) -> None:
        name, threads = specification["model"], specification["threads"]
        config = EngineConfig(model=name, threads=threads, **OUR_FORMATS[specification["format"]])
        model = load(config, locate.of(config))
        model.compile_ahead(in_background=False)
        super().__init__(model, specification["text"], specification["steps"])


def bits_of(logits: torch.Tensor, tokens: list[int]) -> float:
    """Return the bits of tokens after the first one, from logits (tokens, vocabulary)."""
    losses = torch.nn.functional.cross_entropy(logits[:-1].float(), torch.tensor(tokens[1:]), reduction="sum")
    return float(losses / torch.log(torch.tensor(2.0)))
