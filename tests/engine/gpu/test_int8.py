"""int8 weights on a GPU: products by kernels, and whole models beside plain ones with the weights they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.local import ask, load_model, names, reference, tokens_of
from torch import nn

from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.prefix_cache import PrefixCache
from codegen_lsp.engine.quantized.gpu import products
from codegen_lsp.engine.quantized.layers import QuantizedLinear

NEW = 16
TEXT = (Path(__file__).resolve().parents[3] / "codegen_lsp" / "wire" / "answers.py").read_text(
    encoding="utf-8"
)


def test_kernels_work_on_this_gpu() -> None:
    assert products.why_not(torch.device("cuda:0")) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 4, 16, 17])
def test_products_are_those_of_the_dequantized_weights(rows: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    for outputs, inputs in ((1024, 1024), (3072, 1024), (1024, 4096), (777, 2560)):
        layer = QuantizedLinear.from_weight(torch.randn(outputs, inputs), "int8", torch.randn(outputs)).cuda()
        row = torch.randn(rows, inputs, device="cuda", dtype=dtype)
        exact = row.float() @ layer.dequantized().T + layer.bias
        error = float((layer(row).float() - exact).norm() / exact.norm())
        assert error < (1e-5 if dtype == torch.float32 else 0.01)


def dequantized(folder: Path, quantized: Model) -> Model:
    """The plain model with the weights that a quantized one stands for."""
    model = load_model(folder, quantize="none", device_map="cuda:0")
    for name, layer in quantized.module.named_modules():
        if isinstance(layer, QuantizedLinear):
            path, _, own = name.rpartition(".")
            plain = nn.Linear(
                layer.in_features, layer.out_features, bias=layer.bias is not None, device="cuda"
            )
            plain.weight = nn.Parameter(layer.dequantized())
            plain.bias = layer.bias
            setattr(model.module.get_submodule(path), own, plain)
    return model


@pytest.mark.parametrize("name", ["nano", "clear-cut"])
def test_greedy_text_is_that_of_the_dequantized_model(name: str, clear_cut: Path) -> None:
    folder = NANO_FOLDER if name == "nano" else clear_cut
    model = load_model(folder, quantize="int8", device_map="cuda:0")
    assert model.weights == "int8"
    assert model.records_steps
    plain = dequantized(folder, model)
    cache = PrefixCache(2**28)
    ids = model.vocabulary.encode(TEXT)
    for tokens in (ids[:70], ids[:73], ids[:60] + ids[100:120]):
        expected = names(plain, reference(plain, tokens, NEW))
        for rows in (1, 4):
            answer = ask(model, [tokens], cache, max_tokens=NEW, logprobs=0, n=rows, chunk=256)
            assert [tokens_of(model, answer, row) for row in range(rows)] == [expected] * rows


def test_accuracy_and_size_on_the_real_model() -> None:
    exact = load_model(NANO_FOLDER, dtype="bfloat16", device_map="cuda:0")
    int8 = load_model(NANO_FOLDER, dtype="bfloat16", quantize="int8", device_map="cuda:0")
    ids = exact.vocabulary.encode(TEXT)[:512]

    def bits(model: Model, step: int) -> float:
        kv = model.new_cache(len(ids))
        parts = [
            model.forward(torch.tensor([ids[start : start + step]]), kv, step)[0]
            for start in range(0, len(ids), step)
        ]
        logits = torch.cat(parts)
        return float(nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:])))

    for step in (256, 16, 1):
        assert bits(int8, step) <= bits(exact, 256) * 1.01
    sizes = [sum(p.nbytes for p in model.module.parameters()) for model in (int8, exact)]
    assert sizes[0] < 0.75 * sizes[1]
