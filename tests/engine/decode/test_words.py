"""Rows that begin with one of the words of the request."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from support.checkpoints import make_tokenizer
from support.local import Answer, ask, load_model, names, reference, tokens_of
from tokenizers import Tokenizer, decoders, models

from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER
from codegen_lsp.engine.decode.prompts import PreparedPrompt, prepare
from codegen_lsp.engine.decode.rows.row import Row
from codegen_lsp.engine.decode.rows.words import certain_after, rests_after
from codegen_lsp.engine.decode.sampling import TokenDistribution
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.vocabulary import Vocabulary
from codegen_lsp.wire.requests import CompletionRequest

PROMPT = "import http.client\n\nclient = http.client.HTTPSConnection(host)\nclient."
WORDS = ("connect", "close", "request", "getresponse", "set_debuglevel", "set_tunnel", "send", "sendall")
LETTERS = "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
VOCABULARY = Vocabulary(make_tokenizer().backend_tokenizer, 600, [0])


@pytest.fixture(scope="module")
def nano() -> Model:
    return load_model(NANO_FOLDER)


def rests(typed: str, words: Sequence[str] = WORDS) -> tuple[str, ...]:
    """What a client sends where this is typed of a word."""
    return tuple(word[len(typed) :] for word in words if word.startswith(typed))


def first_word(text: str) -> str:
    return text[: len(text) - len(text.lstrip(LETTERS))]


def ends_one(text: bytes, targets: Sequence[bytes]) -> bool:
    """Whether a text is one of these and then what ends a word."""
    following = (text[len(target) : len(target) + 1] for target in targets if text.startswith(target))
    return any(byte and byte < b"\x80" and byte.decode() not in LETTERS for byte in following)


def spells(text: bytes, targets: Sequence[bytes]) -> bool:
    """Whether a text has to go on as one of these."""
    return any(target.startswith(text) for target in targets) and not ends_one(text, targets)


def may_come(vocabulary: Vocabulary, token: int, text: bytes, targets: Sequence[bytes]) -> bool:
    """Whether a token spells a part of one of the targets, or ends it: by comparing it with each of them."""
    if token in vocabulary.special:
        return token in vocabulary.ends and text in targets
    longer = text + vocabulary.bytes_of[token]
    return longer != text and (
        any(target.startswith(longer) for target in targets) or ends_one(longer, targets)
    )


def values_of(answer: Answer, row: int = 0) -> list[float]:
    logprobs = answer.choices[row].logprobs
    assert logprobs is not None
    return [value for value in logprobs.token_logprobs if value is not None]


# A model


@torch.inference_mode()
def log_probabilities(model: Model, tokens: Sequence[int]) -> torch.Tensor:
    """Of the next token, by transformers' forward pass."""
    logits = model.module(torch.tensor([list(tokens)]), use_cache=False).logits[0, -1].float()
    return logits.masked_fill(model.banned, -torch.inf).log_softmax(-1)


def spelling_mass(vocabulary: Vocabulary, scores: torch.Tensor, pending: bytes) -> float:
    """The logarithm of the sum of e^x over the tokens that spell `pending`; 0 where nothing is healed."""
    return float(scores[[*vocabulary.spelling(pending).tokens]].logsumexp(0)) if pending else 0.0


def greedy(
    model: Model, prompt: str, words: Sequence[str], heal: bool, new: int
) -> tuple[bytes, list[float]]:
    """The text and the log-probabilities of the likeliest tokens that may come, one by one."""
    vocabulary = model.vocabulary
    prepared = prepare(model, CompletionRequest((prompt,), max_tokens=new, heal=heal))[0]
    tokens = list(prepared.tokens[: prepared.kept])
    targets = [prepared.pending + word.encode() for word in words]
    text, values, free = b"", [], False
    while len(values) < new:
        scores = log_probabilities(model, tokens)
        allowed = [i for i in range(vocabulary.size) if free or may_come(vocabulary, i, text, targets)]
        token = max(allowed, key=lambda each: float(scores[each]))
        tokens.append(token)
        healed = spelling_mass(vocabulary, scores, prepared.pending[len(text) :])
        text += vocabulary.output_bytes(token)
        if len(text) > len(prepared.pending):
            values.append(float(scores[token]) - healed)
        free = free or not spells(text, targets)
    return text[len(prepared.pending) :], values


@pytest.mark.parametrize("heal", [False, True])
@pytest.mark.parametrize("typed", ["", "se", "set_", "send"])
def test_the_likeliest_tokens_that_spell_a_word_are_taken(nano: Model, typed: str, heal: bool) -> None:
    words, prompt = rests(typed), PROMPT + typed
    answer = ask(nano, prompt, max_tokens=12, heal=heal, words=words, logprobs=0)
    text, values = greedy(nano, prompt, words, heal, 12)
    assert answer.text == text.decode(errors="ignore")
    assert values_of(answer) == pytest.approx(values, abs=2e-3)
    assert all(value <= 1e-5 for value in values_of(answer))
    assert first_word(answer.text) in words


@pytest.mark.parametrize("word", ["zig", "ZAG_9", "__x", "été", "send"])
def test_one_word_is_written_whatever_the_model_likes(nano: Model, word: str) -> None:
    text = ask(nano, PROMPT, max_tokens=16, heal=True, words=(word,)).text
    assert text.startswith(word)
    assert text[len(word)] not in LETTERS


def test_words_that_the_model_writes_anyway_change_nothing(nano: Model) -> None:
    fields: dict[str, Any] = {"max_tokens": 12, "heal": True, "logprobs": 1}
    plain = ask(nano, PROMPT, **fields)
    named = ask(nano, PROMPT, words=(first_word(plain.text), "close"), **fields)
    assert named.text == plain.text
    assert tokens_of(nano, named) == tokens_of(nano, plain)


def test_no_words_are_no_constraint(tiny: Model) -> None:
    prompt = "def to_json(self, name: str) -> dict:\n    body = "
    answer = ask(tiny, prompt, max_tokens=12, words=(), logprobs=0)
    expected = reference(tiny, tiny.vocabulary.encode(prompt), 12)
    assert tokens_of(tiny, answer) == names(tiny, expected)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("typed", ["", "se"])
def test_branching_rows_all_begin_with_words_and_differ(nano: Model, typed: str, temperature: float) -> None:
    """In text: none spells what another has in other tokens."""
    fields: dict[str, Any] = {"max_tokens": 10, "heal": True, "temperature": temperature, "seed": 1}
    answer = ask(nano, PROMPT + typed, n=6, branch=True, words=rests(typed), logprobs=0, **fields)
    assert {first_word(text) for text in answer.texts} <= set(rests(typed))
    assert len({first_word(text) for text in answer.texts}) >= 3
    assert len(set(answer.texts)) == 6
    if not temperature:
        assert answer.text == ask(nano, PROMPT + typed, words=rests(typed), **fields).text


def test_branching_rows_share_their_only_word_and_part_after_it(nano: Model) -> None:
    answer = ask(nano, PROMPT + "se", n=5, branch=True, max_tokens=10, heal=True, words=("t_debuglevel",))
    assert {first_word(text) for text in answer.texts} == {"t_debuglevel"}
    assert len({text[:16] for text in answer.texts}) >= 4


@pytest.mark.parametrize("top_p", [0.8, 1.0])
def test_sampled_rows_begin_with_words(nano: Model, top_p: float) -> None:
    fields: dict[str, Any] = {"temperature": 1.5, "top_p": top_p, "max_tokens": 24, "logprobs": 0}
    answer = ask(nano, PROMPT + "s", n=12, seed=3, heal=True, words=rests("s"), **fields)
    # Short tokens may spell a long word: it may not be whole yet.
    for text in answer.texts:
        assert any(text == word[: len(text)] or first_word(text) == word for word in rests("s"))
    assert len({first_word(text) for text in answer.texts}) > 1
    alone = ask(nano, PROMPT + "s", n=1, seed=7, heal=True, words=rests("s"), **fields)
    assert alone.text == answer.texts[4]


def test_a_word_that_is_whole_already_goes_on_with_what_ends_it(nano: Model) -> None:
    for heal in (False, True):
        answer = ask(nano, PROMPT + "send", n=4, branch=True, max_tokens=6, heal=heal, words=("",))
        assert all(text[:1] not in LETTERS for text in answer.texts)
        assert len(set(answer.texts)) == 4


def test_a_word_may_end_the_text(tiny: Model) -> None:
    """Not before the word is whole, and not within a longer one."""
    head = tiny.module.get_output_embeddings()
    end = min(tiny.vocabulary.ends)
    with torch.no_grad():
        before = head.bias[end].item()
        head.bias[end] = 1000.0
    try:
        answer = ask(tiny, "import ", max_tokens=20, words=("sys", "system"), logprobs=0)
        assert (answer.text, answer.choices[0].finish_reason) in (("sys", "stop"), ("system", "stop"))
        assert ask(tiny, "import sys", max_tokens=20, words=("",)).text == ""
    finally:
        with torch.no_grad():
            head.bias[end] = before


def test_stops_and_the_number_of_tokens_hold_in_words_too(nano: Model) -> None:
    words = ("set_debuglevel",)
    assert ask(nano, PROMPT, max_tokens=16, heal=True, words=words, stop=("debug",)).text == "set_"
    short = ask(nano, PROMPT, max_tokens=1, heal=True, words=words)
    assert "set_debuglevel".startswith(short.text)
    assert (short.choices[0].finish_reason, short.progress.completion_tokens) == ("length", 1)


def test_words_before_a_suffix(nano: Model) -> None:
    fields: dict[str, Any] = {"suffix": ")\nprint(answer)\n", "max_tokens": 12, "heal": True}
    answer = ask(nano, PROMPT + "se", n=3, branch=True, words=rests("se"), **fields)
    assert {first_word(text) for text in answer.texts} <= set(rests("se"))


def test_an_expected_text_is_verified_after_the_word(nano: Model) -> None:
    fields: dict[str, Any] = {"max_tokens": 24, "heal": True, "words": rests("se"), "logprobs": 0}
    plain = ask(nano, PROMPT + "se", **fields)
    drafted = ask(nano, PROMPT + "se", draft=plain.text, **fields)
    assert drafted.text == plain.text
    assert values_of(drafted) == pytest.approx(values_of(plain), abs=2e-3)


def test_streamed_and_whole_answers_agree(nano: Model) -> None:
    fields: dict[str, Any] = {"n": 3, "branch": True, "max_tokens": 8, "words": WORDS, "logprobs": 1}
    assert ask(nano, PROMPT, stream=True, **fields).choices == ask(nano, PROMPT, **fields).choices


# Rows without a model


def rests_of(words: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(sorted({word.encode() for word in words}))


def prompt_with(words: Sequence[str], pending: bytes = b"") -> PreparedPrompt:
    return PreparedPrompt("x.", (1,), 1, pending, words=rests_of(words))


def distribution(vocabulary: Vocabulary, seed: int) -> TokenDistribution:
    logits = torch.randn(vocabulary.size, generator=torch.Generator().manual_seed(seed % 2**31)) * 3
    logits[vocabulary.without_text] = -torch.inf
    likeliest = int(logits.argmax())
    return TokenDistribution(logits, likeliest, float(logits[likeliest]), float(logits.logsumexp(0)))


@given(
    words=st.lists(st.text("aeinrst_.é", max_size=6), min_size=1, max_size=5),
    pending=st.text(" .seé", max_size=3).map(str.encode),
    branch=st.booleans(),
    temperature=st.sampled_from([0.0, 1.0]),
    seed=st.integers(0, 999),
)
@example(words=["", "a"], pending=b"", branch=True, temperature=0.0, seed=1)
@example(words=["a", "a.b"], pending=b".", branch=True, temperature=1.0, seed=1)
@example(words=["eé"], pending="eé".encode(), branch=False, temperature=0.0, seed=209)
def test_whatever_the_words_and_the_logits_only_tokens_come_that_may(
    words: list[str], pending: bytes, branch: bool, temperature: float, seed: int
) -> None:
    """With the model's log-probabilities. No row is plain, or could be drafted for, as long as it spells."""
    fields: dict[str, Any] = {
        "n": 3,
        "branch": branch,
        "temperature": temperature,
        "logprobs": 0,
        "seed": seed,
    }
    request = CompletionRequest(("x.",), max_tokens=30, words=tuple(words), **fields)
    rows = [Row(VOCABULARY, request, prompt_with(words, pending), 0, rank) for rank in range(3)]
    targets = [pending + word.encode() for word in words]
    for row in rows:
        text, values = b"", []
        while spells(text, targets) and not row.finished:
            assert row.is_starting
            assert not row.is_plain
            likely = distribution(VOCABULARY, seed + zlib.crc32(text))
            token = row.choose(likely)
            row.push(token, likely)
            assert may_come(VOCABULARY, token, text, targets)
            scores = likely.logits.log_softmax(-1)
            healed = spelling_mass(VOCABULARY, scores, pending[len(text) :])
            text += VOCABULARY.output_bytes(token)
            if len(text) > len(pending) and token not in VOCABULARY.ends:
                values.append(float(scores[token]) - healed)
        row.cut()
        choice = row.delta()
        assert choice is not None
        assert choice.logprobs is not None
        assert choice.logprobs.token_logprobs == pytest.approx(values, abs=1e-4)


def lacking() -> Vocabulary:
    """A vocabulary of a few letters, which can't spell every text."""
    tokenizer = Tokenizer(models.BPE({"<end>": 0, "a": 1, "b": 2, "ab": 3, "(": 4}, []))
    tokenizer.decoder = decoders.ByteLevel()
    return Vocabulary(tokenizer, 5, [0])


@pytest.mark.parametrize(("words", "expected"), [(["xyz"], []), (["axe"], [1]), (["é", "b"], [2])])
@pytest.mark.parametrize("n", [1, 3])
def test_words_that_no_token_can_spell_set_the_row_free(
    words: list[str], expected: list[int], n: int
) -> None:
    """From where it can't go on; the model likes "ab" best."""
    logits = torch.tensor([0.0, 1.0, 2.0, 9.0, 3.0])
    likely = TokenDistribution(logits, 3, 9.0, float(logits.logsumexp(0)))
    request = CompletionRequest(("x.",), max_tokens=8, n=n, branch=True, temperature=0.0, words=tuple(words))
    row = Row(lacking(), request, prompt_with(words), 0, 0)
    tokens = []
    for _ in range(3):
        tokens.append(row.choose(likely))
        row.push(tokens[-1], likely)
    after_word = [4] if words[-1] == "b" else []
    assert tokens[: len(expected) + 1] == [*expected, *(after_word or [3])]


# What remains of words


def test_what_remains_after_some_bytes() -> None:
    words = rests_of(["send", "send_async", "set_cookie"])
    assert rests_after(words, b"") == words
    assert rests_after(words, b"se") == (b"nd", b"nd_async", b"t_cookie")
    assert rests_after(words, b"send") == (b"", b"_async")
    assert rests_after(words, b"send(") == ()
    assert rests_after(words, b"sending") == ()
    assert rests_after((b"", b"_async"), b"(") == ()
    assert rests_after((b"", b"_async"), b"_a") == (b"sync",)
    assert rests_after((b"", b"(b"), b"(") == (), "the empty word has ended"
    assert rests_after((b"\xff\xff",), b"\xff") == (b"\xff",)


def test_what_is_certain_after_some_bytes() -> None:
    words = rests_of(["send", "send_async", "set_cookie"])
    assert certain_after(words, b"") == certain_after(words, b"s") == b"se"
    assert certain_after(words, b"set") == certain_after(words, b"set_") == b"set_cookie"
    assert certain_after(words, b"sen") == b"send"
    assert certain_after(words, b"send(x") == b"send(x"
    assert certain_after((), b"x") == b"x"
