"""The engine's parts, driven in this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.decode.generate import generate
from codegen_lsp.engine.decode.progress import DecodeProgress, Planned
from codegen_lsp.engine.decode.prompts import prepare
from codegen_lsp.engine.decode.reading import Reading
from codegen_lsp.engine.decode.shared import make, run
from codegen_lsp.engine.model.loading import load
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.passes import Pass
from codegen_lsp.engine.model.prefix_cache import PrefixCache
from codegen_lsp.engine.quantized.layers import QuantizedLinear
from codegen_lsp.wire.answers import Choice, Completion, join_chunks
from codegen_lsp.wire.config import EngineConfig
from codegen_lsp.wire.requests import CompletionRequest


def load_model(folder: object, **options: Any) -> Model:
    """A checkpoint in float32."""
    config = EngineConfig(model=str(folder), **{"dtype": "float32", **options})
    return load(config, locate.of(config))


def dequantized(folder: object, quantized: Model) -> Model:
    """The plain model with the weights that a quantized one stands for."""
    model = load_model(folder, quantize="none")
    for name, layer in quantized.module.named_modules():
        if isinstance(layer, QuantizedLinear):
            path, _, own = name.rpartition(".")
            plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
            plain.weight = nn.Parameter(layer.dequantized())
            plain.bias = layer.bias
            setattr(model.module.get_submodule(path), own, plain)
    return model


@dataclass
class Answer:
    """What a request gave, and cost."""

    choices: tuple[Choice, ...]
    progress: DecodeProgress
    steps: list[str] = field(default_factory=list)
    emitted: list[Sequence[Choice]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.choices[0].text

    @property
    def texts(self) -> list[str]:
        return [choice.text for choice in self.choices]


def ask(
    model: Model, prompt: Any, cache: PrefixCache | None = None, *, chunk: int = 32, **fields: Any
) -> Answer:
    """The answer to one request; greedy where nothing else is said. Prompts: text, ids, or several of either."""
    prompts = prompt if isinstance(prompt, list) else [prompt]
    request = CompletionRequest(
        prompts=tuple(p if isinstance(p, str) else tuple(p) for p in prompts),
        **{"temperature": 0.0, **fields},
    )
    progress = DecodeProgress()
    emitted: list[Sequence[Choice]] = []
    reading = Reading(model, cache, progress, chunk)

    def emit(choices: Iterable[Choice]) -> None:
        if new := tuple(choices):
            emitted.append(new)

    steps = list(run(model, generate(reading, request, prepare(model, request), emit)))
    chunks = [Completion("", "", 0, tuple(choices)) for choices in emitted]
    return Answer(join_chunks(chunks).choices, progress, [str(s) for s in steps], emitted)


@torch.inference_mode()
def reference(model: Model, tokens: Sequence[int], new: int) -> list[int]:
    """What transformers' own `generate` gives greedily; ids without text are suppressed, the end of text ends."""
    result = model.module.generate(
        torch.tensor([list(tokens)], device=model.input_device),
        attention_mask=torch.ones(1, len(tokens), dtype=torch.long, device=model.input_device),
        max_new_tokens=new,
        do_sample=False,
        num_beams=1,
        use_cache=True,
        suppress_tokens=model.vocabulary.without_text or None,
        eos_token_id=sorted(model.vocabulary.ends) or None,
        pad_token_id=model.vocabulary.start,
    )
    return [int(t) for t in result[0, len(tokens) :]]


def tokens_of(model: Model, answer: Answer, row: int = 0) -> list[str]:
    """The names of a row's tokens; the request must ask for logprobs."""
    logprobs = answer.choices[row].logprobs
    assert logprobs is not None
    return list(logprobs.tokens)


def names(model: Model, tokens: Sequence[int]) -> list[str]:
    """Token ids as log-probabilities name them, up to the end of text."""
    result = []
    for token in tokens:
        if token in model.vocabulary.ends:
            break
        result.append(model.vocabulary.text_of(token))
    return result


def decode_together(model: Model, prompts: Sequence[Sequence[int]], new: int) -> list[list[int]]:
    """The `new` greedy tokens of each of several rows whose steps are shared.

    The rows begin one after another, skip different steps, swap places, and end at different steps.
    """
    stores = [model.new_cache(len(tokens) + new) for tokens in prompts]
    chosen: list[list[int]] = [[] for _ in prompts]
    for tokens, kv, ids in zip(prompts, stores, chosen, strict=True):
        ids.append(_likeliest(model, model.forward(torch.tensor([list(tokens)]), kv)))
    step = 0
    while any(len(ids) < new for ids in chosen):
        step += 1
        rows = [i for i, ids in enumerate(chosen) if i <= step and step % (i + 2) and len(ids) < new]
        if step % 5 == 0:
            rows.reverse()
        planned = [Planned("decode", Pass(torch.tensor([chosen[row][-1:]]), stores[row])) for row in rows]
        for row, logits in zip(rows, make(model, planned, 64), strict=True):
            assert isinstance(logits, torch.Tensor), logits
            chosen[row].append(_likeliest(model, logits))
    return chosen


def _likeliest(model: Model, logits: torch.Tensor) -> int:
    return int(logits[0, -1].masked_fill(model.banned, -torch.inf).argmax())
