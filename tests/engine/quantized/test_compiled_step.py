"""A step or a prompt, compiled as one program, computes what the plain model with the same weights computes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import TinyCodeGen, build_llama, save
from support.local import dequantized, load_model
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from codegen_lsp.engine.model.compiled.parts import PROMPT_ROOM
from codegen_lsp.engine.model.kv_store import KVStore
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.passes import Pass
from codegen_lsp.engine.quantized.formats import FEW_ROWS, FORMATS, Format

LLAMA = {
    "vocab_size": 600,
    "hidden_size": 192,
    "intermediate_size": 416,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
}
SCALED = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def llama(kind: str = "llama", **fields: Any) -> PreTrainedModel:
    return build_llama(kind, **LLAMA | fields)


BUILDERS: dict[str, Callable[[], PreTrainedModel]] = {
    "350M": TinyCodeGen(n_layer=3, seed=6, n_embd=256, n_head=4, rotary_dim=32).build,
    "chunks": TinyCodeGen(n_layer=3, seed=6, n_embd=256, n_head=8, rotary_dim=16).build,
    "llama": llama,
    "tied": lambda: llama(tie_word_embeddings=True, rope_parameters=SCALED),
    "qwen": lambda: llama("qwen2"),
    "mistral": lambda: llama("mistral", sliding_window=None, head_dim=64, num_key_value_heads=6),
}


@pytest.fixture(
    scope="module", params=[(name, f) for name in BUILDERS for f in FORMATS], ids=lambda p: "-".join(p)
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    """A model with quantized weights, and the plain one with the weights that these stand for."""
    name, number_format = request.param
    folder = save(tmp_path_factory.mktemp("model"), BUILDERS[name]())
    quantized = load_model(folder, quantize=number_format)
    return quantized, dequantized(folder, quantized)


def forked(model: Model, kv: KVStore, rows: int) -> KVStore:
    """Rows that share a prompt; those of transformers' modules have copies of it."""
    return kv.fork(rows, 8) if model.forks else kv.repeat(rows, 8)


def prompt(seed: int, count: int) -> torch.Tensor:
    return torch.randint(1, 500, (1, count), generator=torch.Generator().manual_seed(seed))


def read(model: Model, seed: int, count: int) -> KVStore:
    kv = model.new_cache(count + 8)
    model.forward(prompt(seed, count), kv)
    return kv


def stores(model: Model, more: int) -> list[KVStore]:
    """A long prompt, a short one, three rows that share one, and two with copies of one and room for `more` tokens."""
    shared = forked(model, read(model, 4, 30), 3)
    return [read(model, 2, 90), read(model, 3, 5), shared, read(model, 5, 20).repeat(2, more)]


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Whether logits are equal but for activations in 16 bits."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).norm() / theirs.norm()) < 0.004


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
        long, short, together, copied = stores(model, 8)
        for turn in range(3):
            passes = [
                Pass(prompt(turn, 4), long, 2),
                Pass(prompt(10 + turn, 1), short),
                Pass(prompt(20 + turn, 3).T.contiguous(), together),
                Pass(prompt(30 + turn, 4).view(2, 2), copied, torch.tensor([1])),
            ]
            results.append(model.forward_together(passes))
        assert [kv.length for kv in (long, short, together, copied)] == [102, 8, 33, 26]
    for ours, theirs in zip(results[:3], results[3:], strict=True):
        assert all(close(*two) for two in zip(ours, theirs, strict=True))


def test_prompts_and_many_rows(pair: tuple[Model, Model]) -> None:
    """Until the kernels for prompts are compiled, these are computed by the network's calls."""
    assert pair[0].forks
    results = []
    for model in pair:
        kv = read(model, 2, 37)
        whole = model.forward(prompt(3, 40), kv, 40)
        rows = forked(model, kv, 3)
        results.append([whole, *(model.forward(prompt(turn, 24).view(3, 8), rows, 8) for turn in range(2))])
    assert all(close(*two) for two in zip(*results, strict=True))


@pytest.mark.parametrize("layer", [0, 2, -1])
def test_features(pair: tuple[Model, Model], layer: int) -> None:
    ours, theirs = (model.hidden_states(prompt(5, 30), model.new_cache(30), layer) for model in pair)
    assert close(ours, theirs)


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


def test_prompts_are_the_same_with_kernels(pair: tuple[Model, Model]) -> None:
    pair[0].compile_ahead(in_background=False)
    for before, new in ((0, 33), (20, 17), (7, 50)):
        stores = [read(model, 13, before) if before else model.new_cache(60) for model in pair]
        tokens = prompt(14, new)
        for keep in (1, new, torch.arange(new // 2, new)):
            ours, expected = (m.forward(tokens, kv, keep) for m, kv in zip(pair, stores, strict=True))
            assert close(ours, expected)
            for kv in stores:
                kv.crop(before)


def test_prompts_of_several_requests_with_kernels(pair: tuple[Model, Model]) -> None:
    """Of one row, of rows that share a prompt, of rows with copies of it, and steps beside them."""
    pair[0].compile_ahead(in_background=False)
    results = []
    for model in pair:
        long, short, together, copied = stores(model, 40)
        for turn in range(2):
            passes = [
                Pass(prompt(turn, 70), long),
                Pass(prompt(10 + turn, 1), short),
                Pass(prompt(20 + turn, 75).view(3, 25), together, torch.arange(4, 25)),
                Pass(prompt(30 + turn, 10).view(2, 5), copied, 5),
                Pass(prompt(40 + turn, 150).view(1, 150), model.new_cache(150), torch.tensor([7, 149])),
            ]
            results.append(model.forward_together(passes))
            alone = forked(model, read(model, 6 + turn, 30), 2)
            results.append([model.forward(prompt(50 + turn, 80).view(2, 40), alone, 40)])
        assert [kv.length for kv in (long, short, together, copied)] == [230, 7, 80, 30]
    for ours, theirs in zip(results[:4], results[4:], strict=True):
        assert all(close(*two) for two in zip(ours, theirs, strict=True))


def test_more_tokens_than_there_was_room_for_before(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", llama(max_position_embeddings=1024))
    model = load_model(folder, quantize="int8")
    plain = dequantized(folder, model)
    model.compile_ahead(in_background=False)
    for count in (40, PROMPT_ROOM + 1, 60, 2 * PROMPT_ROOM + 30):
        tokens = prompt(count, count)
        ours, theirs = (each.forward(tokens, each.new_cache(count), 3) for each in (model, plain))
        assert close(ours, theirs)


def test_a_token_that_is_not_in_the_table_is_no_other_one(pair: tuple[Model, Model]) -> None:
    model, _ = pair
    logits = model.forward(torch.tensor([[5, 10_000_000]]), model.new_cache(2), 2)
    assert torch.isfinite(logits[:, 0]).all()
    assert not torch.isfinite(logits[:, 1]).any()


@pytest.mark.parametrize("fields", [{"sliding_window": 16}, {"hidden_act": "gelu"}])
def test_transformers_computes_what_is_not_as_in_llama(tmp_path: Path, fields: dict[str, Any]) -> None:
    module = MistralForCausalLM(MistralConfig(**LLAMA | fields)).eval()
    model = load_model(save(tmp_path / "m", module), quantize="int8")
    assert not model.forks
    assert torch.isfinite(model.forward(prompt(1, 20), model.new_cache(20))).all()


def test_weights_that_are_not_finite_give_logits_that_are_not(tmp_path: Path) -> None:
    module: Any = BUILDERS["350M"]()
    with torch.no_grad():
        module.transformer.h[1].ln_1.weight[3] = torch.nan
    number_format: Format = "int8"
    model = load_model(save(tmp_path / "m", module), quantize=number_format)
    logits = model.forward(torch.tensor([[5]]), read(model, 1, 20))
    assert not torch.isfinite(logits).any()
