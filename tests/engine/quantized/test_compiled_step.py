"""A step of few tokens, compiled as one program, computes what the plain model with the same weights computes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from support.checkpoints import TinyCodeGen, save
from support.local import load_model

from codegen_lsp.engine.model.kv_store import KVStore
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.passes import Pass
from codegen_lsp.engine.quantized.formats import FORMATS, Format
from codegen_lsp.engine.quantized.layers import FEW_ROWS, QuantizedLinear

WIDTHS = {
    "350M": {"n_embd": 256, "n_head": 4, "rotary_dim": 32},
    "chunks": {"n_embd": 256, "n_head": 8, "rotary_dim": 16},
}


@pytest.fixture(
    scope="module", params=[(name, f) for name in WIDTHS for f in FORMATS], ids=lambda p: "-".join(p)
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    """A model with quantized weights, and the plain one with the weights that these stand for."""
    name, number_format = request.param
    shape = TinyCodeGen(n_layer=3, seed=6, **WIDTHS[name])
    folder = save(tmp_path_factory.mktemp("model"), shape.build())
    quantized, plain = load_model(folder, quantize=number_format), load_model(folder, quantize="none")
    with torch.no_grad():
        for path, layer in quantized.module.named_modules():
            if isinstance(layer, QuantizedLinear):
                plain.module.get_submodule(path).weight.copy_(layer.dequantized())
    return quantized, plain


def prompt(seed: int, count: int) -> torch.Tensor:
    return torch.randint(1, 500, (1, count), generator=torch.Generator().manual_seed(seed))


def read(model: Model, seed: int, count: int) -> KVStore:
    kv = model.new_cache(count + 8)
    model.forward(prompt(seed, count), kv)
    return kv


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Whether logits are equal but for activations in 16 bits."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).norm() / theirs.norm()) < 0.01


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, FEW_ROWS])
def test_any_number_of_new_tokens(pair: tuple[Model, Model], count: int) -> None:
    for length in (1, 40):
        stores = [read(model, 1, length) for model in pair]
        for step in range(2):
            tokens = prompt(7 + step, count)
            ours, theirs = (m.forward(tokens, kv, count) for m, kv in zip(pair, stores, strict=True))
            assert close(ours, theirs)


def test_requests_of_all_kinds_together(pair: tuple[Model, Model]) -> None:
    results = []
    for model in pair:
        long, short, shared = read(model, 2, 90), read(model, 3, 5), read(model, 4, 30)
        forked, copied = shared.fork(3, 8), read(model, 5, 20).repeat(2, 8)
        for turn in range(3):
            passes = [
                Pass(prompt(turn, 4), long, 2),
                Pass(prompt(10 + turn, 1), short),
                Pass(prompt(20 + turn, 3).T.contiguous(), forked),
                Pass(prompt(30 + turn, 4).view(2, 2), copied, torch.tensor([1])),
            ]
            results.append(model.forward_together(passes))
        assert [kv.length for kv in (long, short, forked, copied)] == [102, 8, 33, 26]
    for ours, theirs in zip(results[:3], results[3:], strict=True):
        assert all(close(*two) for two in zip(ours, theirs, strict=True))


def test_a_token_has_the_same_logits_alone_and_among_others(pair: tuple[Model, Model]) -> None:
    model, _ = pair
    tokens, kv = prompt(8, 6), read(model, 6, 50)
    together = model.forward(tokens, kv, 6)
    kv.crop(50)
    alone = torch.cat([model.forward(tokens[:, i : i + 1], kv) for i in range(6)], 1)
    assert close(together, alone)


def test_any_number_of_threads(pair: tuple[Model, Model]) -> None:
    model, _ = pair
    tokens, kv, threads = prompt(9, 3), read(model, 7, 33), torch.get_num_threads()
    expected = model.forward(tokens, kv, 3)
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            kv.crop(33)
            assert close(model.forward(tokens, kv, 3), expected)
    finally:
        torch.set_num_threads(threads)


def test_steps_are_the_same_while_their_kernels_are_compiled(pair: tuple[Model, Model]) -> None:
    stores = [read(model, 11, 20) for model in pair]
    pair[0].compile_ahead()
    tokens = prompt(12, 2)
    before, expected = (m.forward(tokens, kv, 2) for m, kv in zip(pair, stores, strict=True))
    for thread in threading.enumerate():
        if thread.name == "kernels":
            thread.join(60)
    stores[0].crop(20)
    after = pair[0].forward(tokens, stores[0], 2)
    assert close(before, expected)
    assert close(after, expected)


def test_weights_that_are_not_finite_give_logits_that_are_not(tmp_path: Path) -> None:
    module = TinyCodeGen(n_layer=2, **WIDTHS["350M"]).build()
    with torch.no_grad():
        module.transformer.h[1].ln_1.weight[3] = torch.nan
    number_format: Format = "int8"
    model = load_model(save(tmp_path / "m", module), quantize=number_format)
    logits = model.forward(torch.tensor([[5]]), read(model, 1, 20))
    assert not torch.isfinite(logits).any()
