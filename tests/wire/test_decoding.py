"""Answers of hostile and odd servers: each becomes a value or one error that names the place."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen_lsp.wire.answers import Completion, Health, Logprobs, ModelInfo
from codegen_lsp.wire.decoding import (
    completion_from_json,
    decode_json,
    embeddings_from_json,
    health_from_json,
    models_from_json,
)
from codegen_lsp.wire.errors import InvalidAnswerError, WireError

HUGE = 10**400


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"choices": [None]}, r"`choices\[0\]`: expected object, got null"),
        ({"choices": [{"text": 5}]}, r"`choices\[0\].text`: expected str"),
        ({"choices": [{"index": "0"}]}, r"`choices\[0\].index`: expected int"),
        ({"choices": [{"index": -1}]}, r"`choices\[0\].index`: expected int >= 0"),
        ({"choices": [{"index": HUGE}]}, r"`choices\[0\].index`: expected int"),
        ({"choices": [{"index": True}]}, r"`choices\[0\].index`: expected int"),
        ({"choices": {"0": {}}}, "`choices`: expected array, got object"),
        ({"choices": "text"}, "`choices`: expected array, got str"),
        ({"choices": [[{"text": "nested"}]]}, r"`choices\[0\]`: expected object, got array"),
        ({"choices": [{}] * 2000}, "`choices`: expected array of length <= "),
        ({"choices": [{"text": "x" * 5 * 2**20}]}, r"`choices\[0\].text`: expected str of length <= "),
        ({"choices": [{"logprobs": {"token_logprobs": ["-1"]}}]}, "token_logprobs"),
        ({"choices": [{"logprobs": {"token_logprobs": [float("nan")]}}]}, "token_logprobs"),
        ({"choices": [{"logprobs": {"token_logprobs": [float("-inf")]}}]}, "token_logprobs"),
        ({"choices": [{"logprobs": {"token_logprobs": [HUGE]}}]}, "token_logprobs|out of range"),
        ({"choices": [{"logprobs": {"text_offset": [-5]}}]}, "text_offset"),
        ({"choices": [{"logprobs": {"tokens": "abc"}}]}, "tokens"),
        ({"choices": [{"logprobs": {"top_logprobs": [[1]]}}]}, "top_logprobs"),
        ({"choices": [], "usage": {"prompt_tokens": "7"}}, "`usage.prompt_tokens`: expected int"),
        ({"choices": [], "usage": {"prompt_tokens": -1}}, "`usage.prompt_tokens`: expected int >= 0"),
        ({"choices": [], "usage": [1]}, "`usage`: expected object"),
        ({"choices": [], "model": ["m"]}, "`model`: expected str"),
        ({"choices": [], "created": "today"}, "`created`: expected float"),
        ({"hello": 1}, "missing required field 'choices'"),
        ([], "expected 'object', got 'array'"),
        (None, "expected 'object', got 'null'"),
        ("text", "expected 'object', got 'str'"),
    ],
    ids=lambda value: re.sub(r"\W+", "-", str(value))[:50],
)
def test_a_wrong_completion_is_one_error_that_names_the_place(body: Any, problem: str) -> None:
    with pytest.raises(InvalidAnswerError, match=problem) as caught:
        completion_from_json(body)
    assert "is this a completions server?" in caught.value.message
    assert len(caught.value.message) < 300


def test_a_deeply_nested_answer_is_an_error() -> None:
    with pytest.raises(InvalidAnswerError, match="not JSON"):
        decode_json(b"[" * 200_000)


@pytest.mark.parametrize(
    "text", [b"NaN", b'{"choices": Infinity}', b"-Infinity", b"", b"\xff", b"<html>", b"{} {}"]
)
def test_what_is_not_json_is_an_error(text: bytes) -> None:
    with pytest.raises(InvalidAnswerError, match="not JSON"):
        decode_json(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "text",
                    "index",
                    "logprobs",
                    "tokens",
                    "token_logprobs",
                    "usage",
                    "error",
                    "data",
                    "id",
                    "meta",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(json_values)
def test_whatever_a_server_sends_is_a_value_or_an_error_of_the_wire(body: Any) -> None:
    for read in (completion_from_json, models_from_json, lambda value: embeddings_from_json(value, 1)):
        with contextlib.suppress(WireError):
            read(body)
    assert health_from_json(body).state in ("loading", "ready", "unloaded", "error")


def test_null_and_absence_are_the_same() -> None:
    nulls = {
        "id": None,
        "model": None,
        "created": None,
        "usage": None,
        "choices": [{"text": None, "logprobs": None}],
    }
    assert completion_from_json(nulls) == completion_from_json({"choices": [{}]})
    lists = dict.fromkeys(("tokens", "token_logprobs", "top_logprobs", "text_offset"))
    (choice,) = completion_from_json({"choices": [{"logprobs": lists}]}).choices
    assert choice.logprobs == Logprobs()


def test_what_nothing_reads_may_be_of_any_shape() -> None:
    body = {
        "id": 7,
        "created": 1.5,
        "object": [],
        "choices": [{"finish_reason": "eos", "seed": {}}],
        "timings": "fast",
    }
    completion = completion_from_json(body)
    assert completion == Completion("7", "", 1, completion.choices, None, {})
    assert completion.choices[0].finish_reason == "stop"


def test_only_sane_durations_are_kept() -> None:
    timings = {"prefill_ms": 3, "decode_ms": "3", "queue_ms": float("inf"), "predicted_n": 5}
    assert completion_from_json({"choices": [], "timings": timings}).timings == {"prefill_ms": 3.0}


def test_health_of_any_shape() -> None:
    assert health_from_json({"status": "loading", "progress": None}) == Health("loading", "")
    assert health_from_json({"status": "ok"}).state == "ready"
    assert health_from_json({"status": "error", "progress": {"done": "many"}}).state == "ready"


def test_models_in_three_dialects() -> None:
    entries = [
        {"id": "ours", "max_model_len": 2048, "extensions": ["heal", "unheard-of"], "weights": "int8"},
        {"id": "vllm", "max_model_len": 4096, "meta": None},
        {"id": "llama", "meta": {"n_ctx_train": 512}},
    ]
    assert models_from_json({"data": entries}) == (
        ModelInfo("ours", 2048, "", ("heal",), owner="", weights="int8"),
        ModelInfo("vllm", 4096, owner=""),
        ModelInfo("llama", 512, owner=""),
    )
    with pytest.raises(InvalidAnswerError, match=r"`data\[0\]`: expected object, got null"):
        models_from_json({"data": [None]})


def test_embeddings_are_in_the_order_of_their_texts() -> None:
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1]}]
    assert embeddings_from_json({"data": data}, 2) == [[1.0], [2.0]]
    for wrong in (
        {"data": data[:1]},
        {"data": [{"embedding": ["1"]}] * 2},
        {"data": [{"embedding": []}] * 2},
        {},
    ):
        with pytest.raises(InvalidAnswerError):
            embeddings_from_json(json.loads(json.dumps(wrong)), 2)
