"""Llama and its relatives on a GPU: replayed steps beside this engine's own calls, and transformers' modules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from support.closeness import assert_as_good
from support.local import ask, decode_together, load_model, names, reference, tokens_of

from codegen_lsp.engine.model.graphs.recorders import Unrecorded
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.prefix_cache import PrefixCache

NEW = 24
TEXT = (Path(__file__).resolve().parents[3] / "codegen_lsp" / "wire" / "answers.py").read_text(
    encoding="utf-8"
)
TOLERANCE = {"float32": 2e-3, "bfloat16": 0.35, "float16": 0.1}
"""How far below the best a chosen token may be, in nats, if it is not the best: sums in another order."""


@dataclass
class LlamaCase:
    """A model whose steps are replayed, and the same one with steps that are made of calls."""

    replayed: Model
    called: Model
    dtype: str


@pytest.fixture(scope="module", params=["float32", "bfloat16", "float16"])
def pair(request: pytest.FixtureRequest, llama_folder: Path) -> LlamaCase:
    models = [load_model(llama_folder, device_map="cuda:0", dtype=request.param) for _ in range(2)]
    assert all(model.records_steps and model.forks for model in models)
    models[1].record_steps(Unrecorded())
    return LlamaCase(*models, request.param)


@pytest.fixture
def case(pair: LlamaCase, caplog: pytest.LogCaptureFixture) -> Iterator[LlamaCase]:
    """A pair of which one may not stop to replay while a test runs."""
    pair.called.forward(torch.tensor([[1]]), pair.called.new_cache(1))
    caplog.clear()
    yield pair
    assert not [record for record in caplog.get_records("call") if "not recorded" in record.getMessage()]


def test_a_prompt_is_read_at_once(case: LlamaCase) -> None:
    assert case.replayed.prefill_chunk == 2048


def test_logits_of_prompts_and_steps_are_those_of_transformers(case: LlamaCase) -> None:
    model = case.replayed
    tokens = torch.tensor([model.vocabulary.encode(TEXT)[:200]])
    with torch.inference_mode():
        exact = model.module(tokens.cuda()).logits[0].float().cpu().log_softmax(-1)
    for each in (case.replayed, case.called):
        kv, pieces = each.new_cache(200), tokens.split([70, 1, 2, 5, 16, 60, 1, 1, 16, 8, 20], 1)
        made = torch.cat([each.forward(piece, kv, piece.shape[1])[0] for piece in pieces]).log_softmax(-1)
        difference = (made - exact)[:, ~model.banned].abs()
        assert float(difference.mean()) < TOLERANCE[case.dtype] / 4


def check(case: LlamaCase, tokens: list[int], made: list[str], expected: list[str]) -> None:
    assert_as_good(case.called, tokens, made, expected, TOLERANCE[case.dtype])


def test_greedy_tokens_are_those_of_calls(case: LlamaCase) -> None:
    ids = case.replayed.vocabulary.encode(TEXT)
    caches = PrefixCache(2**28), PrefixCache(2**28)
    for tokens in (ids[:150], ids[:153], ids[:120] + ids[200:220]):
        for rows in (1, 4):
            ours, theirs = (
                ask(model, [tokens], cache, max_tokens=NEW, logprobs=0, n=rows, chunk=256)
                for model, cache in zip((case.replayed, case.called), caches, strict=True)
            )
            for row in range(rows):
                check(case, tokens, tokens_of(case.replayed, ours, row), tokens_of(case.called, theirs, row))


def test_greedy_tokens_are_those_of_transformers(case: LlamaCase) -> None:
    for length in (60, 150):
        tokens = case.replayed.vocabulary.encode(TEXT)[:length]
        expected = names(case.replayed, reference(case.replayed, tokens, NEW))
        answer = ask(case.replayed, [tokens], None, max_tokens=NEW, logprobs=0, chunk=2048)
        check(case, tokens, tokens_of(case.replayed, answer), expected)


def test_a_batch_of_mixed_requests(case: LlamaCase) -> None:
    ids = case.replayed.vocabulary.encode(TEXT)
    texts = [ids[:100], ids[50:80], ids[:110]]
    made = [decode_together(model, texts, NEW) for model in (case.replayed, case.called)]
    for tokens, ours, theirs in zip(texts, *made, strict=True):
        check(case, tokens, names(case.replayed, ours), names(case.called, theirs))


def test_int8_weights(llama_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = load_model(llama_folder, quantize="int8", device_map="cuda:0")
    assert (model.weights, model.records_steps) == ("int8", True)
    tokens = torch.tensor([model.vocabulary.encode(TEXT)[:120]])
    with torch.inference_mode():
        exact = model.module(tokens.cuda()).logits[0].float().cpu()
    kv = model.new_cache(120)
    made = torch.cat(
        [model.forward(piece, kv, piece.shape[1])[0] for piece in tokens.split([80, 1, 7, 32], 1)]
    )
    assert float((made - exact).norm() / exact.norm()) < 0.01
    assert "not recorded" not in caplog.text
