"""Llama and its relatives on this engine's own network: calls and recorded steps give what transformers gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import LLAMAS, save
from support.local import ask, decode_together, load_model, names, reference, tokens_of
from support.recording import StrictRecorder

from codegen_lsp.engine.decode.generate import generate
from codegen_lsp.engine.decode.progress import DecodeProgress
from codegen_lsp.engine.decode.prompts import prepare
from codegen_lsp.engine.decode.reading import Reading
from codegen_lsp.engine.decode.shared import run
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.passes import StepTimes
from codegen_lsp.engine.model.prefix_cache import PrefixCache
from codegen_lsp.wire.answers import Choice
from codegen_lsp.wire.requests import CompletionRequest

NEW = 16
TEXT = (Path(__file__).resolve().parents[3] / "codegen_lsp" / "wire" / "answers.py").read_text(
    encoding="utf-8"
)


class Free(StepTimes):
    """Times of a model for which every draft seems to pay."""

    def ratio(self, tokens: int) -> float:
        del tokens
        return 1.0


class Repeater(StrictRecorder):
    """Repeats what a GPU could not: the processor's kernels for int8 get numbers from Python."""

    def _do(self, work: Callable[[], None]) -> None:
        work()


@pytest.fixture(scope="module", params=LLAMAS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("shape"), LLAMAS[request.param]())


@pytest.fixture(scope="module")
def plain(folder: Path) -> Model:
    return load_model(folder)


@pytest.fixture(scope="module")
def recorder() -> StrictRecorder:
    return StrictRecorder()


@pytest.fixture(scope="module")
def recorded(folder: Path, recorder: StrictRecorder) -> Model:
    model = load_model(folder)
    assert model.record_steps(recorder)
    return model


@pytest.fixture(params=["calls", "recorded"])
def model(request: pytest.FixtureRequest, plain: Model, recorded: Model) -> Model:
    made = plain if request.param == "calls" else recorded
    assert made.forks
    return made


def expected(model: Model, tokens: list[int], new: int = NEW) -> list[str]:
    return names(model, reference(model, tokens, new))


def test_logits_are_those_of_transformers(model: Model) -> None:
    tokens = torch.tensor([model.vocabulary.encode(TEXT)[:90]])
    with torch.inference_mode():
        exact = model.module(tokens).logits[0]
    kv, pieces = model.new_cache(90), tokens.split([20, 1, 5, 16, 31, 1, 2, 14], 1)
    parts = [model.forward(piece, kv, piece.shape[1])[0] for piece in pieces]
    torch.testing.assert_close(torch.cat(parts), exact, rtol=1e-4, atol=1e-4)


def test_greedy_tokens_cold_warm_and_in_rows(model: Model) -> None:
    ids = model.vocabulary.encode(TEXT)
    cache = PrefixCache(2**26)
    for tokens in (ids[:90], ids[:92], ids[:60] + ids[200:220]):
        for rows in (1, 3):
            answer = ask(model, [tokens], cache, max_tokens=NEW, logprobs=0, n=rows)
            assert [tokens_of(model, answer, row) for row in range(rows)] == [expected(model, tokens)] * rows
    assert answer.progress.cached_tokens >= 79


def test_requests_share_steps(model: Model) -> None:
    ids = model.vocabulary.encode(TEXT)
    prompts = [ids[:40], ids[100:130], ids[:50]]
    for tokens, chosen in zip(prompts, decode_together(model, prompts, NEW), strict=True):
        assert names(model, chosen) == expected(model, tokens)


def test_forked_rows_that_differ(plain: Model, recorded: Model, recorder: StrictRecorder) -> None:
    replayed = recorder.replayed
    fields: dict[str, Any] = {"n": 4, "max_tokens": 10, "logprobs": 0, "branch": True}
    ours, theirs = (ask(each, TEXT[:200], PrefixCache(2**26), **fields) for each in (recorded, plain))
    assert ours.texts == theirs.texts
    assert len(set(ours.texts)) == 4
    assert recorder.replayed > replayed


def test_verified_drafts_change_no_token(model: Model) -> None:
    tokens = model.vocabulary.encode(TEXT)[:90]
    best = reference(model, tokens, NEW)
    request = CompletionRequest((tuple(tokens),), max_tokens=NEW, temperature=0, logprobs=0)
    before, model.step_times = model.step_times, Free()
    try:
        # The token in the middle of the draft is not what the model takes.
        middle = len(best) // 2
        drafted = [*best[:middle], (best[middle] + 1) % 300, *best[middle + 1 :]]
        prompts = [replace(prompt, draft=tuple(drafted)) for prompt in prepare(model, request)]
        emitted: list[Choice] = []
        reading = Reading(model, PrefixCache(2**26), DecodeProgress(), 32)
        list(run(model, generate(reading, request, prompts, emitted.extend)))
    finally:
        model.step_times = before
    assert reading.progress.drafted_tokens > reading.progress.accepted_tokens > 0
    assert [name for choice in emitted for name in choice.logprobs.tokens] == names(model, best)  # type: ignore[union-attr]


def test_features_are_those_of_transformers(plain: Model) -> None:
    tokens = torch.tensor([plain.vocabulary.encode(TEXT)[:30]])
    with torch.inference_mode():
        exact = plain.module.base_model(tokens, output_hidden_states=True).hidden_states
    for layer in (0, 1, -1):
        states = plain.hidden_states(tokens, plain.new_cache(30), layer)
        torch.testing.assert_close(states, exact[layer], rtol=1e-4, atol=1e-4)


def test_up_to_the_end_of_the_context(recorded: Model) -> None:
    tokens = recorded.vocabulary.encode(TEXT)[: recorded.context - 3]
    answer = ask(recorded, [tokens], None, max_tokens=NEW, logprobs=0, chunk=256)
    assert tokens_of(recorded, answer) == expected(recorded, tokens, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_numbers_of_16_bits_are_rounded_where_transformers_rounds_them(
    folder: Path, dtype: torch.dtype
) -> None:
    """What remains is attention, which computes in float32 here."""
    model = load_model(folder, dtype=str(dtype).removeprefix("torch."))
    exact = load_model(folder)
    tokens = torch.tensor([model.vocabulary.encode(TEXT)[:60]])
    with torch.inference_mode():
        theirs, best = (each.module(tokens).logits[0].float() for each in (model, exact))
    ours = model.forward(tokens, model.new_cache(60), 60)[0]
    assert float((ours - best).norm()) <= 1.1 * float((theirs - best).norm())


@pytest.mark.parametrize("recorded_int8", [False, True])
def test_int8_weights(folder: Path, *, recorded_int8: bool) -> None:
    model = load_model(folder, quantize="int8")
    tokens = model.vocabulary.encode(TEXT)[:70]
    recorder = Repeater()
    if recorded_int8:
        assert model.record_steps(recorder)
    for rows in (1, 3):
        answer = ask(model, [tokens], None, max_tokens=NEW, logprobs=0, n=rows)
        assert [tokens_of(model, answer, row) for row in range(rows)] == [expected(model, tokens)] * rows
    assert (recorder.replayed > 0) == recorded_int8
