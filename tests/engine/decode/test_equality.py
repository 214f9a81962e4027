"""Greedy decoding gives the tokens of transformers' own `generate`, whatever the prefix cache holds, and however
the model is placed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from support.checkpoints import TinyCodeGen, save
from support.local import ask, load_model, names, reference, tokens_of
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.prefix_cache import PrefixCache

NEW = 24
TEXT = (Path(__file__).resolve().parents[3] / "codegen_lsp" / "wire" / "answers.py").read_text(
    encoding="utf-8"
)

SHAPES = {
    "plain": TinyCodeGen(),
    "one-head-dim": TinyCodeGen(n_layer=3, n_embd=96, n_head=4, rotary_dim=24, seed=1),
    "deep": TinyCodeGen(n_layer=6, n_embd=32, n_head=4, rotary_dim=4, seed=2),
    "many-heads": TinyCodeGen(n_layer=2, n_embd=128, n_head=16, rotary_dim=8, seed=3, vocab_size=777),
    # The 350M's width, heads and rotary part; few layers, and a smaller vocabulary for speed.
    "350M": TinyCodeGen(
        n_layer=2, n_embd=1024, n_head=16, rotary_dim=32, seed=4, n_positions=2048, initializer_range=0.05
    ),
}


@dataclass(frozen=True)
class EqualityCase:
    model: Model
    prompts: tuple[tuple[int, ...], ...]
    """Each differs from the one before it somewhere in the middle."""

    def expected(self, tokens: tuple[int, ...]) -> list[str]:
        return names(self.model, reference(self.model, tokens, NEW))


@pytest.fixture(scope="module", params=[*SHAPES, "nano"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EqualityCase:
    if request.param == "nano":
        model = load_model(NANO_FOLDER)
    else:
        model = load_model(save(tmp_path_factory.mktemp("shape"), SHAPES[request.param].build()))
    ids = model.vocabulary.encode(TEXT)
    return EqualityCase(model, (tuple(ids[:150]), tuple(ids[:100] + ids[300:340]), tuple(ids[400:520])))


def decoded(
    case: EqualityCase, tokens: tuple[int, ...], cache: PrefixCache | None, rows: int = 1
) -> list[list[str]]:
    answer = ask(case.model, [tokens], cache, max_tokens=NEW, logprobs=0, n=rows)
    return [tokens_of(case.model, answer, row) for row in range(rows)]


def test_cold(case: EqualityCase) -> None:
    for tokens in case.prompts:
        assert decoded(case, tokens, None) == [case.expected(tokens)]


def test_warm_and_partly_warm(case: EqualityCase) -> None:
    cache = PrefixCache(2**28)
    for tokens in (*case.prompts, *case.prompts):
        assert decoded(case, tokens, cache) == [case.expected(tokens)]


def test_after_eviction(case: EqualityCase) -> None:
    room = case.model.bytes_per_token * 200
    cache = PrefixCache(room)
    for tokens in (*case.prompts, *reversed(case.prompts)):
        assert decoded(case, tokens, cache) == [case.expected(tokens)]
        assert cache.nbytes <= room
    assert cache.evictions > 0


def test_every_row_of_a_batch(case: EqualityCase) -> None:
    tokens = case.prompts[0]
    assert decoded(case, tokens, PrefixCache(2**28), rows=3) == [case.expected(tokens)] * 3


def test_whatever_the_chunk(case: EqualityCase) -> None:
    tokens = case.prompts[0]
    for chunk in (1, 7, 1000):
        answer = ask(case.model, [tokens], None, chunk=chunk, max_tokens=8, logprobs=0)
        assert tokens_of(case.model, answer) == case.expected(tokens)[:8]


def test_ends_at_the_end_of_text_as_generate_does(tiny: Model) -> None:
    """With the end of text as likely as a bias makes it, some continuation ends in the middle."""
    head = tiny.module.get_output_embeddings()
    end = min(tiny.vocabulary.ends)
    ids = tiny.vocabulary.encode(TEXT)
    lengths = set()
    with torch.no_grad():
        before = head.bias[end].item()
        head.bias[end] = before + 5.0
    try:
        for start in range(0, 300, 20):
            tokens = ids[start : start + 30]
            expected = reference(tiny, tokens, NEW)
            answer = ask(tiny, [tokens], max_tokens=NEW, logprobs=0)
            assert tokens_of(tiny, answer) == names(tiny, expected)
            assert answer.choices[0].finish_reason == ("stop" if end in expected else "length")
            lengths.add(len(expected))
    finally:
        with torch.no_grad():
            head.bias[end] = before
    assert len(lengths) > 1, "no continuation ended early, so nothing was tested"


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save(
        tmp_path_factory.mktemp("sharded"), TinyCodeGen(n_layer=4, seed=5).build(), max_shard_size="200KB"
    )
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    return folder


def write_map(path: Path, blocks: list[str]) -> Path:
    parts = {f"transformer.h.{i}": device for i, device in enumerate(blocks)}
    parts |= {"transformer.wte": "cpu", "transformer.ln_f": "cpu", "lm_head": "cpu"}
    path.write_text(json.dumps(parts))
    return path


@pytest.mark.parametrize(
    "blocks", [["cpu", "cpu", "disk", "disk"], ["disk", "cpu", "disk", "cpu"], ["cpu"] * 4], ids="-".join
)
def test_layers_split_by_a_hand_written_map(sharded: Path, tmp_path: Path, blocks: list[str]) -> None:
    whole = load_model(sharded)
    split = load_model(
        sharded,
        device_map=str(write_map(tmp_path / "map.json", blocks)),
        offload_folder=str(tmp_path / "offload"),
    )
    tokens = whole.vocabulary.encode(TEXT)[:100]
    expected = names(whole, reference(whole, tokens, NEW))
    cache = PrefixCache(2**26)
    for _ in range(2):
        assert tokens_of(split, ask(split, [tokens], cache, max_tokens=NEW, logprobs=0, n=2)) == expected


def test_layers_split_because_memory_is_short(sharded: Path, tmp_path: Path) -> None:
    whole = load_model(sharded)
    size = sum(p.numel() * 4 for p in whole.module.parameters())
    split = load_model(sharded, max_memory={"cpu": size * 2 // 3}, offload_folder=str(tmp_path))
    assert {p.device.type for p in split.module.parameters()} == {"cpu", "meta"}
    tokens = whole.vocabulary.encode(TEXT)[:60]
    expected = names(whole, reference(whole, tokens, NEW))
    assert tokens_of(split, ask(split, [tokens], max_tokens=NEW, logprobs=0)) == expected


SMALL = {"vocab_size": 600, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}


@pytest.mark.parametrize(
    "build",
    [
        lambda: GPT2LMHeadModel(
            GPT2Config(vocab_size=600, n_embd=64, n_layer=3, n_head=4, initializer_range=0.25, eos_token_id=0)
        ),
        lambda: LlamaForCausalLM(
            LlamaConfig(**SMALL, num_key_value_heads=2, intermediate_size=96, initializer_range=0.25)
        ),
    ],
    ids=["gpt2", "llama"],
)
def test_other_architectures(tmp_path: Path, build: object) -> None:
    torch.manual_seed(7)
    model = load_model(save(tmp_path, build().eval()))  # type: ignore[operator]
    cache = PrefixCache(2**26)
    tokens = model.vocabulary.encode(TEXT)[:80]
    expected = names(model, reference(model, tokens, NEW))
    for n in (1, 3):
        answer = ask(model, [tokens], cache, max_tokens=NEW, logprobs=0, n=n)
        assert [tokens_of(model, answer, row) for row in range(n)] == [expected] * n
    assert answer.progress.cached_tokens == len(tokens) - 1


def test_an_architecture_with_sliding_windows_decodes_without_a_prefix_cache(tmp_path: Path) -> None:
    torch.manual_seed(8)
    config = MistralConfig(
        **SMALL, num_key_value_heads=2, intermediate_size=96, sliding_window=16, initializer_range=0.25
    )
    model = load_model(save(tmp_path, MistralForCausalLM(config).eval()))
    assert model.layout is None
    tokens = model.vocabulary.encode(TEXT)[:50]
    expected = names(model, reference(model, tokens, NEW))
    answer = ask(model, [tokens], PrefixCache(2**26), max_tokens=NEW, logprobs=0, n=3, chunk=8)
    assert [tokens_of(model, answer, row) for row in range(3)] == [expected] * 3
    assert answer.progress.cached_tokens == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu(sharded: Path) -> None:
    model = load_model(sharded, device_map="cuda:0")
    tokens = model.vocabulary.encode(TEXT)[:100]
    expected = names(model, reference(model, tokens, NEW))
    cache = PrefixCache(2**26)
    for _ in range(2):
        assert tokens_of(model, ask(model, [tokens], cache, max_tokens=NEW, logprobs=0, n=2)) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_split_between_a_gpu_and_memory(sharded: Path, tmp_path: Path) -> None:
    whole = load_model(sharded, device_map="cpu")
    parts: dict[str, object] = {f"transformer.h.{i}": 0 if i < 2 else "cpu" for i in range(4)}
    parts |= {"transformer.wte": 0, "transformer.ln_f": "cpu", "lm_head": "cpu"}
    path = tmp_path / "map.json"
    path.write_text(json.dumps(parts))
    split = load_model(sharded, device_map=str(path))
    tokens = whole.vocabulary.encode(TEXT)[:100]
    expected = names(whole, reference(whole, tokens, NEW))
    assert tokens_of(split, ask(split, [tokens], max_tokens=NEW, logprobs=0)) == expected
