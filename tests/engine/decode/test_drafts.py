"""Drafts change when tokens are decoded, never which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.local import Answer, ask, names, reference, tokens_of

from codegen_lsp.engine.decode.drafts import Corpus, Speculation
from codegen_lsp.engine.decode.generate import generate
from codegen_lsp.engine.decode.progress import DecodeProgress
from codegen_lsp.engine.decode.prompts import prepare
from codegen_lsp.engine.decode.reading import Reading
from codegen_lsp.engine.decode.shared import run
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.passes import TRIALS, StepTimes
from codegen_lsp.engine.model.prefix_cache import PrefixCache
from codegen_lsp.engine.scheduling.metrics import Metrics
from codegen_lsp.wire.answers import Choice
from codegen_lsp.wire.requests import CompletionRequest

SOURCE = (Path(__file__).resolve().parents[3] / "codegen_lsp" / "wire" / "answers.py").read_text(
    encoding="utf-8"
)
NEW = 40


class Fixed(StepTimes):
    """Times that are known from the start: a token more costs `more` of a pass."""

    def __init__(self, more: float) -> None:
        super().__init__()
        self.more = more

    def ratio(self, tokens: int) -> float:
        return 1 + (tokens - 1) * self.more


@pytest.fixture
def eager(tiny: Model) -> Iterator[Model]:
    """A model for which every draft seems to pay."""
    times, tiny.step_times = tiny.step_times, Fixed(0.0)
    yield tiny
    tiny.step_times = times


def without_drafts(model: Model, *args: Any, **fields: Any) -> Answer:
    times, model.step_times = model.step_times, Fixed(100.0)
    try:
        return ask(model, *args, **fields)
    finally:
        model.step_times = times


def ask_with(model: Model, ids: list[int], draft: list[int], cache: PrefixCache, **fields: Any) -> list[str]:
    """The tokens of a request that expects these ids, and not a text that may be encoded as others."""
    request = CompletionRequest((tuple(ids),), logprobs=0, **fields)
    prompts = [replace(prompt, draft=tuple(draft)) for prompt in prepare(model, request)]
    emitted: list[Choice] = []
    reading = Reading(model, cache, PROGRESS, 64)
    list(run(model, generate(reading, request, prompts, emitted.extend)))
    (choice,) = emitted
    assert choice.logprobs is not None
    return list(choice.logprobs.tokens)


PROGRESS = DecodeProgress()


def text_of(model: Model, tokens: list[int]) -> str:
    return b"".join(model.vocabulary.output_bytes(token) for token in tokens).decode(errors="replace")


@pytest.mark.parametrize("start", range(0, 1200, 300))
def test_greedy_tokens_are_those_of_transformers(eager: Model, start: int) -> None:
    """With drafts that are right, partly right, and wrong; and with what is left in the cache afterwards."""
    ids = eager.vocabulary.encode(SOURCE)[start : start + 60]
    expected = reference(eager, ids, NEW)
    cache = PrefixCache(2**26)
    drafts = [text_of(eager, expected), text_of(eager, expected[:9] + expected[14:]), SOURCE[:300], ""]
    for draft in drafts:
        answer = ask(eager, [ids], cache, max_tokens=NEW, logprobs=0, draft=draft)
        assert tokens_of(eager, answer) == names(eager, expected)
        assert answer.progress.completion_tokens == len(expected)
    longer = [*ids, *expected[:20]]
    again = ask(eager, [longer], cache, max_tokens=8, logprobs=0)
    assert tokens_of(eager, again) == names(eager, reference(eager, longer, 8))


def test_an_expected_text_saves_forward_passes(eager: Model) -> None:
    ids = eager.vocabulary.encode(SOURCE)[:60]
    expected = reference(eager, ids, NEW)
    before = replace(PROGRESS)
    fields = {"max_tokens": NEW, "temperature": 0.0}
    tokens = ask_with(eager, ids, [*ids[-2:], *expected], PrefixCache(2**26), **fields)
    assert tokens == names(eager, expected)
    accepted = PROGRESS.accepted_tokens - before.accepted_tokens
    assert accepted > NEW // 2
    assert PROGRESS.drafted_tokens - before.drafted_tokens >= accepted
    # The text of random tokens is not always encoded as the same tokens again, but some of it is.
    answer = ask(eager, [ids], max_tokens=NEW, draft=text_of(eager, expected))
    assert answer.progress.accepted_tokens
    assert answer.steps.count("decode") == NEW - 1 - answer.progress.accepted_tokens


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.9, "top_p": 0.9, "seed": 4},
        {"temperature": 0.0, "heal": True},
        {"temperature": 0.0, "n": 3, "branch": True},
        {"temperature": 0.7, "n": 2, "seed": 1, "stop": ("e",)},
        {"temperature": 0.0, "stop": ("\n", "self"), "stream": True},
    ],
    ids=str,
)
def test_rows_are_the_same_with_and_without_drafts(eager: Model, fields: dict[str, Any]) -> None:
    for begin in (0, 400, 900):
        prompt = SOURCE[begin : begin + 200]
        fields = {"max_tokens": NEW, "logprobs": 0, **fields}
        plain = without_drafts(eager, prompt, **fields)
        drafted = ask(eager, prompt, draft=plain.text, **fields)
        assert drafted.texts == plain.texts
        for a, b in zip(drafted.choices, plain.choices, strict=True):
            assert a.logprobs is not None
            assert b.logprobs is not None
            assert a.logprobs.token_logprobs == pytest.approx(b.logprobs.token_logprobs, abs=2e-3)


def chances_after(model: Model, ids: list[int], temperature: float) -> torch.Tensor:
    logits = model.forward(torch.tensor([ids]), model.new_cache(len(ids)))[0, -1]
    return (logits.masked_fill(model.banned, -torch.inf) / temperature).softmax(-1)


def undecided_place(model: Model, temperature: float) -> tuple[list[int], int, torch.Tensor]:
    """Ids with a likely next token, after which several are likely: their chances."""
    ids = model.vocabulary.encode(SOURCE)
    for start in range(0, 1000, 10):
        prompt = ids[start : start + 30]
        first = chances_after(model, prompt, temperature)
        token = int(first.argmax())
        second = chances_after(model, [*prompt, token], temperature)
        if first[token] > 0.5 and 0.3 < second.max() < 0.7:
            return prompt, token, second
    raise AssertionError("no such place")


def test_sampled_tokens_follow_the_distribution_of_the_model(eager: Model) -> None:
    """Pearson's chi-squared test of the token that a draft guesses. The seeds are fixed, so the result is too."""
    ids, first, chances = undecided_place(eager, 0.5)
    likely = chances.topk(3).indices.tolist()
    cache = PrefixCache(2**26)
    before = PROGRESS.accepted_tokens
    counts: Counter[str] = Counter()
    for seed in range(300):
        draft = [*ids[-2:], first, likely[0], 1, 2]
        tokens = ask_with(eager, ids, draft, cache, max_tokens=3, temperature=0.5, seed=seed)
        if len(tokens) > 1 and tokens[0] == eager.vocabulary.text_of(first):
            counts[tokens[1]] += 1
    total = counts.total()
    assert total > 100
    assert PROGRESS.accepted_tokens - before >= counts[eager.vocabulary.text_of(likely[0])]
    observed = [counts[eager.vocabulary.text_of(token)] for token in likely]
    expected = [total * float(chances[token]) for token in likely]
    observed, expected = [*observed, total - sum(observed)], [*expected, total - sum(expected)]
    # 0.1 % of fair samples exceed this bound with three degrees of freedom.
    assert sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True)) < 16.3


def test_the_context_is_never_overrun_by_a_draft(eager: Model) -> None:
    ids = eager.vocabulary.encode(SOURCE)[: eager.context - 9]
    answer = ask(eager, [ids], max_tokens=50, logprobs=0, draft=SOURCE)
    assert answer.choices[0].finish_reason == "length"
    assert answer.progress.completion_tokens <= 9


def test_look_ups_prefer_the_expected_text_and_then_the_last_occurrence() -> None:
    corpus = Corpus([7, 1, 2, 3, 50, 51, 52], [1, 2, 3, 60, 61, 1, 2, 3, 70, 71, 1, 2, 3])
    assert corpus.draft(3) == [50, 51, 52]
    corpus = Corpus([], [1, 2, 3, 60, 61, 1, 2, 3, 70, 71, 1, 2])
    corpus.add(3)
    assert corpus.draft(2) == [70, 71]
    assert Corpus([], [1, 2, 3]).draft(3) == []
    assert Corpus([], [5]).draft(3) == []
    # 0x01010101 repeated: the bytes match between two tokens too.
    odd = 0x01010101
    assert Corpus([], [odd, odd, 9, odd, odd]).draft(1) == [9]


def test_drafts_stop_where_they_do_not_pay() -> None:
    costly, cheap = Speculation(Fixed(0.9)), Speculation(Fixed(0.05))
    assert costly.length(20) == 0
    assert Speculation(Fixed(0.01)).length(20) == 7
    assert cheap.length(20) == 3
    assert cheap.length(2) == 1
    assert cheap.length(0) == 0
    for _ in range(20):
        cheap.count(7, 0)
    assert cheap.length(20) == 0
    assert any(cheap.length(20) for _ in range(200)), "a text that repeats itself later is noticed"


def test_times_are_trusted_after_some_trials() -> None:
    times = StepTimes()
    for _ in range(TRIALS):
        assert times.ratio(4) is None
        times.add(1, 0.010)
        times.add(4, 0.015)
    assert times.ratio(4) == pytest.approx(1.5)
    times.add(400, 1.0)
    assert times.ratio(400) is None


def test_drafts_are_counted(eager: Model) -> None:
    metrics = Metrics()
    ids = eager.vocabulary.encode(SOURCE)[:60]
    before = ask(eager, [ids], max_tokens=0).progress
    after = ask(eager, [ids], max_tokens=NEW, draft=text_of(eager, reference(eager, ids, NEW))).progress
    metrics.count_step("decode", before.counts, after.counts)
    page = metrics.text().decode()
    assert f"codegen_drafted_tokens_total {float(after.drafted_tokens)}" in page
    assert f"codegen_accepted_tokens_total {float(after.accepted_tokens)}" in page
