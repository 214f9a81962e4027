"""Requests that share forward passes, live buffers and the prefix cache get what each would get alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from support.local import ask

from codegen_lsp.engine.decode.generate import generate
from codegen_lsp.engine.decode.progress import DecodeProgress, Planned, Steps
from codegen_lsp.engine.decode.prompts import prepare
from codegen_lsp.engine.decode.reading import Reading
from codegen_lsp.engine.decode.shared import make
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.passes import Pass
from codegen_lsp.engine.model.prefix_cache import PrefixCache
from codegen_lsp.wire.answers import Choice
from codegen_lsp.wire.requests import CompletionRequest

SOURCE = (Path(__file__).resolve().parents[3] / "codegen_lsp" / "wire" / "answers.py").read_text(
    encoding="utf-8"
)
CHUNK = 16


@dataclass
class Running:
    """A request that takes part in shared passes, and what it has given so far."""

    steps: Steps
    next: Planned | None
    texts: dict[int, str] = field(default_factory=dict)
    values: dict[int, list[float]] = field(default_factory=dict)

    def emit(self, choices: Iterable[Choice]) -> None:
        for choice in choices:
            self.texts[choice.index] = self.texts.get(choice.index, "") + choice.text
            if choice.logprobs is not None:
                values = [value for value in choice.logprobs.token_logprobs if value is not None]
                self.values.setdefault(choice.index, []).extend(values)


def start(model: Model, cache: PrefixCache | None, request: CompletionRequest) -> Running:
    running = Running(iter(()), None)  # type: ignore[arg-type]
    reading = Reading(model, cache, DecodeProgress(), CHUNK)
    running.steps = generate(reading, request, prepare(model, request), running.emit)
    item = next(running.steps, None)
    assert item is None or isinstance(item, Planned)
    running.next = item
    return running


def make_round(model: Model, running: Sequence[Running], tokens: int) -> None:
    """One step of each request that has not ended."""
    waiting = [one for one in running if one.next is not None]
    results = make(model, [one.next for one in waiting if one.next is not None], tokens)
    for one, logits in zip(waiting, results, strict=True):
        assert isinstance(logits, torch.Tensor)
        try:
            item = one.steps.send(logits)
            assert isinstance(item, Planned)
            one.next = item
        except StopIteration:
            one.next = None


def alone(model: Model, request: CompletionRequest) -> tuple[dict[int, str], dict[int, list[float]]]:
    running = start(model, None, request)
    while running.next is not None:
        make_round(model, [running], CHUNK)
    return running.texts, running.values


def requests(seed: int, count: int) -> list[CompletionRequest]:
    """Requests as editors send them: the documents grow, shrink and branch; some score, some warm the cache."""
    choose = random.Random(seed)
    stops = [choose.randrange(80, 400) for _ in range(2)]
    result = []
    for _ in range(count):
        document = choose.randrange(2)
        stops[document] = max(20, stops[document] + choose.choice([1, 2, 5, -3, 20]))
        begin = document * 1500
        prompt = SOURCE[begin : begin + stops[document]]
        kind = choose.randrange(6)
        if kind == 0:
            prompts = tuple(prompt + end + "\n    return value" for end in ("(x)", "[0]", ".name"))
            result.append(CompletionRequest(prompts, max_tokens=0, echo=True, logprobs=0, temperature=0.0))
        elif kind == 1:
            result.append(CompletionRequest((prompt,), max_tokens=0, priority=1))
        else:
            n = choose.choice([1, 1, 3])
            heal = choose.random() < 0.5
            sampled = choose.random() < 0.3
            result.append(
                CompletionRequest(
                    (prompt,),
                    max_tokens=choose.choice([1, 5, 12]),
                    n=n,
                    temperature=0.8 if sampled else 0.0,
                    top_p=0.9 if sampled else 1.0,
                    seed=3,
                    logprobs=0,
                    stream=choose.random() < 0.5,
                    heal=heal,
                    branch=n > 1 and not sampled,
                    words=("name", "self", "x") if choose.random() < 0.2 else (),
                    draft=SOURCE[begin + stops[document] :][:60] if choose.random() < 0.5 else "",
                )
            )
    return result


def assert_same(one: Running, expected: tuple[dict[int, str], dict[int, list[float]]]) -> None:
    texts, values = expected
    assert one.texts == texts
    assert one.values.keys() == values.keys()
    for index, numbers in values.items():
        assert one.values[index] == pytest.approx(numbers, abs=2e-3)


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence_of_requests_gives_what_fresh_caches_give(tiny: Model, seed: int) -> None:
    """Some run at the same time, some are cut off; the cache is large, or so small that it evicts all the time."""
    choose = random.Random(seed)
    cache = PrefixCache(tiny.bytes_per_token * choose.choice([150, 700, 100_000]))
    running: list[tuple[Running, CompletionRequest]] = []
    ended = 0
    for request in requests(seed, 30):
        running.append((start(tiny, cache, request), request))
        for _ in range(choose.choice([0, 1, 3, 40])):
            make_round(tiny, [one for one, _ in running], choose.choice([1, 24, 200]))
        if choose.random() < 0.15:
            running.pop(choose.randrange(len(running)))[0].steps.close()
        for one, its_request in [pair for pair in running if pair[0].next is None]:
            assert_same(one, alone(tiny, its_request))
            running.remove((one, its_request))
            ended += 1
        assert cache.nbytes <= cache.limit
    for one, _ in running:
        one.steps.close()
    assert cache.nbytes <= cache.limit
    assert ended > 5


def test_passes_are_shared(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []
    together = tiny.forward_together

    def counted(passes: Sequence[Pass], *before: Callable[[], None]) -> list[torch.Tensor]:
        widths.append(len(passes))
        return together(passes, *before)

    monkeypatch.setattr(tiny, "forward_together", counted)
    texts = [SOURCE[start : start + 100] for start in (0, 500, 900)]
    running = [start(tiny, None, CompletionRequest((text,), max_tokens=8, temperature=0.0)) for text in texts]
    while any(one.next is not None for one in running):
        make_round(tiny, running, 3 * CHUNK)
    assert widths.count(3) >= 8
    for one, text in zip(running, texts, strict=True):
        assert one.texts[0] == ask(tiny, text, max_tokens=8).text


def test_a_pass_that_fails_does_not_take_the_others_with_it(tiny: Model) -> None:
    good, bad = tiny.new_cache(50), tiny.new_cache(50)
    planned = [
        Planned("prefill", Pass(torch.tensor([[1, 2, 3]]), good)),
        Planned("prefill", Pass(torch.tensor([[10**6]]), bad)),
    ]
    logits, error = make(tiny, planned, 100)
    assert isinstance(error, IndexError)
    assert isinstance(logits, torch.Tensor)
    assert (good.length, bad.length) == (3, 0)
    assert torch.allclose(logits, tiny.forward(torch.tensor([[1, 2, 3]]), tiny.new_cache(50)), atol=1e-5)
