from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.local import ask, names, reference, tokens_of

from codegen_lsp.engine.decode.generate import generate
from codegen_lsp.engine.decode.progress import DecodeProgress
from codegen_lsp.engine.decode.prompts import prepare
from codegen_lsp.engine.decode.reading import Reading
from codegen_lsp.engine.decode.shared import run
from codegen_lsp.engine.decode.stop_strings import Utf8
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.prefix_cache import PrefixCache
from codegen_lsp.wire.answers import Choice
from codegen_lsp.wire.errors import RequestError
from codegen_lsp.wire.requests import CompletionRequest

PROMPT = "def to_json(self, name: str) -> dict:\n    body = "
SOURCE = (Path(__file__).resolve().parents[3] / "codegen_lsp" / "wire" / "answers.py").read_text(
    encoding="utf-8"
)


def all_logprobs(model: Model, tokens: list[int]) -> torch.Tensor:
    """Log-probabilities (t, vocabulary) of transformers' forward pass, without the ids that have no text."""
    with torch.inference_mode():
        logits = model.module(torch.tensor([tokens]), use_cache=False).logits[0].float()
        logits[:, model.vocabulary.without_text] = -torch.inf
        return logits.log_softmax(-1)


# Rows


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.5])
def test_a_row_of_a_batch_is_what_it_would_be_alone(tiny: Model, temperature: float) -> None:
    together = ask(tiny, PROMPT, n=4, max_tokens=20, temperature=temperature, top_p=0.9, seed=11, logprobs=0)
    for row in range(4):
        alone = ask(
            tiny, PROMPT, n=1, max_tokens=20, temperature=temperature, top_p=0.9, seed=11 + row, logprobs=0
        )
        assert together.texts[row] == alone.text
        one, other = together.choices[row].logprobs, alone.choices[0].logprobs
        assert one is not None
        assert other is not None
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-4)


def test_rows_that_stop_leave_the_others_alone(tiny: Model) -> None:
    free = ask(tiny, PROMPT, n=4, max_tokens=24, temperature=1.0, seed=5)
    stop = free.texts[0][4:7], free.texts[2][9:12]
    stopped = ask(tiny, PROMPT, n=4, max_tokens=24, temperature=1.0, seed=5, stop=stop)
    for text, cut, choice in zip(free.texts, stopped.texts, stopped.choices, strict=True):
        first = min((at for s in stop if (at := text.find(s)) >= 0), default=None)
        assert cut == text[:first]
        assert choice.finish_reason == ("length" if first is None else "stop")
    assert {c.finish_reason for c in stopped.choices} == {"stop", "length"}


def test_without_a_seed_draws_differ(tiny: Model) -> None:
    texts = {ask(tiny, PROMPT, max_tokens=12, temperature=1.0).text for _ in range(5)}
    assert len(texts) > 1


def test_branches_start_with_the_likeliest_first_tokens_in_order(tiny: Model) -> None:
    tokens = tiny.vocabulary.encode(PROMPT)
    best = all_logprobs(tiny, tokens)[-1].topk(5).indices.tolist()
    answer = ask(tiny, PROMPT, n=5, max_tokens=10, branch=True, logprobs=0)
    assert [tokens_of(tiny, answer, row)[0] for row in range(5)] == names(tiny, best)
    for row, first in enumerate(best):
        rest = reference(tiny, [*tokens, first], 9)
        assert tokens_of(tiny, answer, row) == names(tiny, [first, *rest])
    assert answer.text == ask(tiny, PROMPT, max_tokens=10).text


def test_several_prompts_give_their_choices_in_order(tiny: Model) -> None:
    prompts = [PROMPT, "x = ", tuple(tiny.vocabulary.encode("import "))]
    together = ask(tiny, prompts, n=2, max_tokens=6, branch=True)
    assert [c.index for c in together.choices] == list(range(6))
    for i, prompt in enumerate(prompts):
        alone = ask(tiny, [prompt], n=2, max_tokens=6, branch=True)
        assert together.texts[2 * i : 2 * i + 2] == alone.texts


# Log-probabilities


def test_log_probabilities_are_the_models(tiny: Model) -> None:
    tokens = tiny.vocabulary.encode(PROMPT)
    answer = ask(tiny, PROMPT, max_tokens=12, logprobs=3, temperature=0.8, seed=3)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    spoken = list(logprobs.tokens)
    ids = tokens + [next(i for i in range(1, 600) if tiny.vocabulary.text_of(i) == s) for s in spoken]
    expected = all_logprobs(tiny, ids)
    for step, value in enumerate(logprobs.token_logprobs):
        row = expected[len(tokens) - 1 + step]
        assert value == pytest.approx(float(row[ids[len(tokens) + step]]), abs=1e-3)
        top = logprobs.top_logprobs[step]
        assert top is not None
        assert sorted(top.values(), reverse=True) == pytest.approx(row.topk(3).values.tolist(), abs=1e-3)
    assert logprobs.text_offset[0] == len(PROMPT)


def test_offsets_point_at_the_tokens_in_the_text(tiny: Model) -> None:
    answer = ask(tiny, PROMPT, max_tokens=30, logprobs=0)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    whole = PROMPT + answer.text
    for name, at in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        if not name.startswith("bytes:"):
            assert whole[at : at + len(name)] == name


def test_echo_scores_the_prompt(tiny: Model) -> None:
    cache = PrefixCache(2**26)
    tokens = tiny.vocabulary.encode(PROMPT)
    expected = all_logprobs(tiny, tokens)
    for _ in range(2):
        answer = ask(tiny, PROMPT, cache, max_tokens=0, echo=True, logprobs=2, chunk=5)
        logprobs = answer.choices[0].logprobs
        assert answer.text == PROMPT
        assert logprobs is not None
        assert list(logprobs.tokens) == names(tiny, tokens)
        assert logprobs.token_logprobs[0] is None
        values = [float(expected[i, t]) for i, t in enumerate(tokens[1:])]
        assert logprobs.token_logprobs[1:] == pytest.approx(values, abs=1e-3)
        assert logprobs.text_offset[0] == 0
        assert "".join(logprobs.tokens) == PROMPT
        assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("at", [0, 1, 17, len(PROMPT) - 1, len(PROMPT), len(PROMPT) + 50])
def test_echo_from_a_place_on(tiny: Model, at: int) -> None:
    """What comes before it is taken from the cache, and its logits are never made."""
    cache = PrefixCache(2**26)
    whole = ask(tiny, PROMPT, cache, max_tokens=0, echo=True, logprobs=0).choices[0].logprobs
    answer = ask(tiny, PROMPT, cache, max_tokens=0, echo=True, logprobs=0, echo_from=at)
    part = answer.choices[0].logprobs
    assert whole is not None
    assert part is not None
    first = len(whole.tokens) - len(part.tokens)
    assert PROMPT.endswith(answer.text)
    if at < len(PROMPT):
        assert part.text_offset[0] <= at < part.text_offset[0] + len(part.tokens[0])
        assert answer.text == PROMPT[part.text_offset[0] :]
        assert answer.progress.prefilled_tokens == len(whole.tokens) - max(first - 1, 0)
    else:
        assert (answer.text, part.tokens) == ("", ())
    assert part.token_logprobs[1:] == pytest.approx(whole.token_logprobs[first + 1 :], abs=1e-3)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("chunk", [16, 40, 256])
def test_prompts_that_begin_alike_are_scored_as_each_would_be_alone(
    tiny: Model, chunk: int, warm: bool
) -> None:
    start = "def total(prices):\n    result = 0\n    for price in prices:\n        "
    prompts = [start + end for end in ("result += price\n    return", "pass\n    return 1", "", "r", "re\n")]
    cache = PrefixCache(2**24) if warm else None
    options = {"max_tokens": 0, "echo": True, "logprobs": 1, "echo_from": len(start) - 3, "chunk": chunk}
    if warm:
        ask(tiny, start, cache, max_tokens=0)
    together = ask(tiny, prompts, cache, **options)
    alone = [ask(tiny, prompt, **options) for prompt in prompts]
    assert [choice.index for choice in together.choices] == list(range(len(prompts)))
    assert together.progress.prompt_tokens == sum(a.progress.prompt_tokens for a in alone)
    for ours, answer in zip(together.choices, alone, strict=True):
        theirs = answer.choices[0]
        assert (ours.text, ours.finish_reason) == (theirs.text, theirs.finish_reason)
        assert ours.logprobs is not None
        assert theirs.logprobs is not None
        assert ours.logprobs.tokens == theirs.logprobs.tokens
        assert ours.logprobs.text_offset == theirs.logprobs.text_offset
        assert ours.logprobs.token_logprobs == pytest.approx(theirs.logprobs.token_logprobs, abs=1e-3)
    if chunk == 256:
        assert together.progress.prefilled_tokens < len(tiny.vocabulary.encode("".join(prompts))) / 2
        assert len(together.steps) <= 2, "their ends are one batch"


def test_echo_with_a_continuation(tiny: Model) -> None:
    answer = ask(tiny, PROMPT, max_tokens=5, echo=True, logprobs=0, n=2, stream=True)
    plain = ask(tiny, PROMPT, max_tokens=5, logprobs=0)
    assert answer.texts == [PROMPT + plain.text] * 2
    logprobs = answer.choices[1].logprobs
    assert logprobs is not None
    assert len(logprobs.tokens) == len(tiny.vocabulary.encode(PROMPT)) + 5
    assert list(logprobs.text_offset) == sorted(logprobs.text_offset)


def test_the_end_of_text_has_its_entry_after_an_echoed_prompt(tiny: Model) -> None:
    """Programs that score a text request one token more than they need, and drop the last entry."""
    end = min(tiny.vocabulary.ends)
    head = tiny.module.get_output_embeddings()
    tokens = tiny.vocabulary.encode(PROMPT)
    with torch.no_grad():
        before = head.bias[end].item()
        head.bias[end] = 1000.0
    try:
        for stream in (False, True):
            answer = ask(tiny, PROMPT, max_tokens=1, echo=True, logprobs=1, stream=stream)
            logprobs = answer.choices[0].logprobs
            assert logprobs is not None
            assert list(logprobs.tokens) == [*names(tiny, tokens), "<|endoftext|>"]
            assert len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == len(tokens) + 1
            assert logprobs.token_logprobs[-1] == pytest.approx(0.0, abs=1e-3)
            assert logprobs.text_offset[-1] == len(PROMPT)
            assert (answer.text, answer.choices[0].finish_reason) == (PROMPT, "stop")
        assert tokens_of(tiny, ask(tiny, PROMPT, max_tokens=1, logprobs=0)) == []
    finally:
        with torch.no_grad():
            head.bias[end] = before


# Stops and streams


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_streamed_and_whole_answers_agree(tiny: Model, data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 50))
    fields = {"n": 2, "max_tokens": 16, "temperature": 1.2, "seed": seed, "logprobs": 1}
    free = ask(tiny, PROMPT, **fields)
    at = data.draw(st.integers(0, max(0, len(free.text) - 3)))
    stops = tuple(s for s in (free.text[at : at + 3], "\n\n") if s)
    whole = ask(tiny, PROMPT, stop=stops, **fields)
    streamed = ask(tiny, PROMPT, stop=stops, stream=True, **fields)
    assert streamed.choices == whole.choices
    for row in whole.choices:
        assert not any(stop in row.text for stop in stops)
        assert row.logprobs is not None
        assert all(offset <= len(PROMPT) + len(row.text) for offset in row.logprobs.text_offset)


def test_a_chunk_holds_whole_characters_only(tiny: Model) -> None:
    """Parts of characters come out of a random model all the time; none may be shown as half of one."""
    for seed in range(6):
        answer = ask(tiny, PROMPT, max_tokens=60, temperature=2.0, seed=seed, logprobs=0, stream=True)
        logprobs = answer.choices[0].logprobs
        assert logprobs is not None
        ids = {tiny.vocabulary.text_of(i): i for i in range(600) if i not in tiny.vocabulary.without_text}
        raw = b"".join(tiny.vocabulary.bytes_of[ids[name]] for name in logprobs.tokens)
        assert raw.decode(errors="replace").startswith(answer.text)
        assert len(raw.decode(errors="replace")) - len(answer.text) <= 1


def test_ids_without_text_never_come_out(tiny: Model) -> None:
    """Even where the model likes nothing better."""
    head = tiny.module.get_output_embeddings()
    banned = tiny.vocabulary.without_text
    with torch.no_grad():
        head.bias[banned] += 100.0
    try:
        for temperature in (0.0, 1.0):
            answer = ask(tiny, PROMPT, max_tokens=20, temperature=temperature, logprobs=5, n=2, branch=True)
            for row in range(2):
                assert all(tokens_of(tiny, answer, row))
                logprobs = answer.choices[row].logprobs
                assert logprobs is not None
                assert sum(math.exp(v) for v in logprobs.top_logprobs[0].values()) <= 1.0001  # type: ignore[union-attr]
    finally:
        with torch.no_grad():
            head.bias[banned] -= 100.0


# The context


def test_the_context_is_never_overrun(tiny: Model) -> None:
    tokens = (tiny.vocabulary.encode(SOURCE))[: tiny.context - 5]
    answer = ask(tiny, [tokens], max_tokens=1000, n=2)
    assert answer.progress.completion_tokens == 2 * 5
    assert {c.finish_reason for c in answer.choices} == {"length"}
    full = tiny.vocabulary.encode(SOURCE)[: tiny.context - 1]
    assert ask(tiny, [full], max_tokens=7).progress.completion_tokens == 1


def test_a_prompt_that_leaves_no_room_is_refused_by_name(tiny: Model) -> None:
    tokens = tiny.vocabulary.encode(SOURCE)[: tiny.context]
    with pytest.raises(RequestError, match=r"256 tokens.*at most 255") as caught:
        ask(tiny, [tokens], max_tokens=1)
    assert caught.value.param == "prompt"
    assert ask(tiny, [tokens], max_tokens=0).progress.prompt_tokens == 256
    with pytest.raises(RequestError, match="characters"):
        ask(tiny, "x" * 3_000_000, max_tokens=1)


@pytest.mark.parametrize("token", [599, 600, 10**9])
def test_token_ids_that_are_not_there_are_refused(tiny: Model, token: int) -> None:
    with pytest.raises(RequestError, match=str(token)):
        ask(tiny, [(1, 2, token)], max_tokens=1)


@pytest.mark.parametrize("prompt", ["", " ", "\n", "\r\n", "\t\t", "é", "🙂", "a\u0301", "\ud83d", "\x00"])
@pytest.mark.parametrize("heal", [False, True])
def test_odd_prompts(tiny: Model, prompt: str, heal: bool) -> None:
    answer = ask(tiny, prompt, max_tokens=4, heal=heal, n=2, branch=True, logprobs=0)
    assert len(answer.choices) == 2
    answer.text.encode()


# Healing


texts = st.integers(0, len(SOURCE) - 200).flatmap(
    lambda a: st.integers(a + 1, a + 120).map(lambda b: SOURCE[a:b])
)


@settings(max_examples=40, deadline=None)
@given(prompt=texts, n=st.integers(1, 4))
@example(prompt=SOURCE[20:42], n=4)
def test_healing_spells_the_prompt_and_goes_on_as_the_model_would(tiny: Model, prompt: str, n: int) -> None:
    """The tokens read and decoded spell the prompt and the text, and the rows differ."""
    prepared = prepare(tiny, CompletionRequest((prompt,), max_tokens=8, heal=True, temperature=0.0))[0]
    kept = b"".join(tiny.vocabulary.bytes_of[t] for t in prepared.tokens[: prepared.kept])
    assert (kept + prepared.pending).removeprefix(b"<|endoftext|>").decode() == prompt
    answer = ask(tiny, prompt, heal=True, max_tokens=8, logprobs=0, n=n, branch=True)
    # Texts may look alike: bytes that are not UTF-8 are all replaced by the same character.
    assert len({tuple(tokens_of(tiny, answer, row)) for row in range(n)}) == n


def test_healing_finds_the_token_that_the_model_wanted(tiny: Model) -> None:
    """Cut a token in two: without healing its first half is read as it is; with healing the whole token is the
    likeliest again, so the text goes on as if it had never been cut."""
    checked = 0
    for start in range(0, 400, 13):
        tokens = tiny.vocabulary.encode(SOURCE)[start : start + 20]
        following = reference(tiny, tokens, 6)
        raw = tiny.vocabulary.bytes_of[following[0]]
        if len(raw) < 3 or not raw.isascii() or following[0] in tiny.vocabulary.ends:
            continue
        head = b"".join(tiny.vocabulary.bytes_of[t] for t in tokens) + raw[:2]
        prompt = head.decode()
        prepared = prepare(tiny, CompletionRequest((prompt,), max_tokens=5, heal=True, temperature=0.0))[0]
        if list(prepared.tokens[: prepared.kept]) != tokens:
            continue
        answer = ask(tiny, prompt, heal=True, max_tokens=6, logprobs=0)
        expected = Utf8().feed(b"".join(map(tiny.vocabulary.output_bytes, following)))
        assert prompt + answer.text == (prompt[: -len(raw[:2])] + expected)
        checked += 1
    assert checked >= 3


def test_healed_tokens_count_for_nothing(tiny: Model) -> None:
    answer = ask(tiny, "return self.mess", heal=True, max_tokens=5, logprobs=0)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert len(logprobs.tokens) <= 5
    assert answer.progress.completion_tokens == 5
    assert all(v is not None and v <= 1e-5 for v in logprobs.token_logprobs)
    assert logprobs.text_offset[0] == len("return self.mess")


def test_healing_excludes_echo(tiny: Model) -> None:
    with pytest.raises(RequestError) as caught:
        ask(tiny, "x", heal=True, echo=True)
    assert caught.value.param == "heal"


# The prefix cache


def test_a_keystroke_costs_a_few_tokens(tiny: Model) -> None:
    cache = PrefixCache(2**26)
    text = SOURCE[1000:1200]
    costs = []
    for stop in range(100, 200):
        answer = ask(tiny, text[:stop], cache, max_tokens=4, heal=True, n=2, branch=True)
        assert (
            answer.progress.cached_tokens + answer.progress.prefilled_tokens <= answer.progress.prompt_tokens
        )
        costs.append(answer.progress.prefilled_tokens)
    assert sorted(costs[1:])[49] <= 3
    assert max(costs[1:]) <= 10


def test_accepting_the_first_candidate_costs_its_last_token_only(tiny: Model) -> None:
    cache = PrefixCache(2**26)
    tokens = tiny.vocabulary.encode(PROMPT)
    spoken = reference(tiny, tokens, 10)
    ask(tiny, [tokens], cache, max_tokens=10, n=3, branch=True)
    answer = ask(tiny, [[*tokens, *spoken]], cache, max_tokens=1)
    assert answer.progress.prefilled_tokens == 1


def test_the_first_row_is_remembered_right_also_when_it_ends_first(tiny: Model) -> None:
    tokens = tiny.vocabulary.encode(PROMPT)
    spoken = reference(tiny, tokens, 10)
    text = b"".join(tiny.vocabulary.output_bytes(t) for t in spoken).decode(errors="ignore")
    for stop in (text[2:5], text[6:9]):
        cache = PrefixCache(2**26)
        ask(tiny, [tokens], cache, max_tokens=10, n=4, branch=True, stop=(stop,))
        answer = ask(tiny, [[*tokens, *spoken]], cache, max_tokens=8, logprobs=0)
        assert answer.progress.cached_tokens >= len(tokens)
        expected = reference(tiny, [*tokens, *spoken], 8)
        assert tokens_of(tiny, answer) == names(tiny, expected)


def test_zero_tokens_warm_the_cache(tiny: Model) -> None:
    cache = PrefixCache(2**26)
    answer = ask(tiny, PROMPT, cache, max_tokens=0)
    assert (answer.text, answer.choices[0].finish_reason) == ("", "length")
    again = ask(tiny, PROMPT, cache, max_tokens=0)
    assert again.progress.prefilled_tokens == 0
    assert ask(tiny, PROMPT, cache, max_tokens=3).progress.prefilled_tokens == 1


def test_a_prompt_that_was_cut_off_leaves_its_finished_part(tiny: Model) -> None:
    cache = PrefixCache(2**26)
    tokens = tiny.vocabulary.encode(SOURCE)[:200]
    request = CompletionRequest((tuple(tokens),), max_tokens=5, temperature=0.0)
    reading = Reading(tiny, cache, DecodeProgress(), 32)
    steps = run(tiny, generate(reading, request, prepare(tiny, request), lambda _: None))
    assert list(itertools.islice(steps, 3)) == ["prefill"] * 3
    steps.close()  # type: ignore[attr-defined]
    answer = ask(tiny, [tokens], cache, max_tokens=5, logprobs=0)
    assert answer.progress.cached_tokens == 3 * 32
    assert tokens_of(tiny, answer) == names(tiny, reference(tiny, tokens, 5))


def test_background_requests_take_small_steps(tiny: Model) -> None:
    tokens = tiny.vocabulary.encode(SOURCE)[:200]
    steps = ask(tiny, [tokens], None, max_tokens=0, priority=1, chunk=1000).steps
    assert steps == ["prefill"] * 4


@pytest.mark.parametrize("fields", [{"max_tokens": 2}, {"max_tokens": 0, "echo": True, "logprobs": 0}])
def test_what_is_not_finite_is_an_error_with_a_way_out(tiny: Model, fields: dict[str, Any]) -> None:
    head = tiny.module.get_output_embeddings()
    with torch.no_grad():
        before = head.bias.clone()
        head.bias.fill_(float("nan"))
    try:
        with pytest.raises(Exception, match="float32") as caught:
            ask(tiny, PROMPT, **fields)
        assert caught.value.code == "not-finite"  # type: ignore[attr-defined]
    finally:
        with torch.no_grad():
            head.bias.copy_(before)


def test_choices_are_given_once_when_not_streaming(tiny: Model) -> None:
    answer = ask(tiny, PROMPT, max_tokens=6, n=2)
    assert [len(choices) for choices in answer.emitted] == [2]
    streamed = ask(tiny, PROMPT, max_tokens=6, n=2, stream=True)
    assert len(streamed.emitted) > 1
    ends = [c for choices in streamed.emitted for c in choices if c.finish_reason]
    assert sorted(c.index for c in ends) == [0, 1]
    assert all(isinstance(c, Choice) for c in ends)
