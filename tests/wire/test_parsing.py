from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen_lsp.wire.answers import Choice, Completion, Health, Logprobs, ModelInfo, Usage, join_chunks
from codegen_lsp.wire.decoding import completion_from_json, health_from_json, models_from_json
from codegen_lsp.wire.errors import (
    InternalError,
    NotReadyError,
    OverloadedError,
    RequestError,
    UnauthorizedError,
    WireError,
    error_from_json,
)
from codegen_lsp.wire.parsing import _FIELDS, parse_request
from codegen_lsp.wire.requests import EXTENSIONS, MAX_LOGPROBS, MAX_N, MAX_WORD, MAX_WORDS, CompletionRequest

texts = st.text(st.characters(codec="utf-8"), max_size=8)
prompts = st.one_of(texts, st.lists(st.integers(0, 51199), min_size=1, max_size=5).map(tuple))


def requests() -> st.SearchStrategy[CompletionRequest]:
    return st.builds(
        CompletionRequest,
        prompts=st.lists(prompts, min_size=1, max_size=3).map(tuple),
        model=st.none() | texts,
        max_tokens=st.integers(0, 1000),
        n=st.integers(1, MAX_N),
        temperature=st.floats(0, 2),
        top_p=st.floats(0.01, 1),
        stop=st.lists(st.text(min_size=1, max_size=3), max_size=3).map(tuple),
        seed=st.none() | st.integers(-(2**63), 2**63 - 1),
        logprobs=st.none() | st.integers(0, MAX_LOGPROBS),
        echo=st.booleans(),
        heal=st.booleans(),
        branch=st.booleans(),
        priority=st.integers(-100, 100),
        echo_from=st.integers(0, 10**6),
        draft=st.text(max_size=20),
        words=st.lists(texts, max_size=3).map(tuple),
    )


@given(requests())
def test_a_request_survives_the_wire(request: CompletionRequest) -> None:
    assert parse_request(json.loads(json.dumps(request.to_json()))) == request


@given(requests())
def test_other_servers_are_sent_no_extensions(request: CompletionRequest) -> None:
    assert not set(request.to_json(extensions=False)) & set(EXTENSIONS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [*_FIELDS, "frequency_penalty", "logit_bias", "suffix", "other"]


@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6) | json_values)
def test_whatever_the_body_it_is_a_request_or_a_named_error(body: Any) -> None:
    request, error = _parse(body)
    if error is not None:
        assert error.message
        assert not isinstance(body, dict) or error.param in {*body, "prompt", "stream_options"}
    else:
        assert request is not None
        assert request.prompts


def _parse(body: Any) -> tuple[CompletionRequest | None, RequestError | None]:
    try:
        return parse_request(body), None
    except RequestError as error:
        return None, error


@pytest.mark.parametrize(
    "neutral", [{"presence_penalty": 0}, {"suffix": None}, {"logit_bias": {}}, {"best_of": 1}]
)
def test_fields_that_change_nothing_are_accepted(neutral: dict[str, Any]) -> None:
    assert parse_request({"prompt": "x", **neutral}).prompts == ("x",)


def test_stream_options() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    request = parse_request({"prompt": "x", "stream": True, "stream_options": options})
    assert request.include_usage
    assert request.continuous_usage
    assert parse_request(request.to_json()) == request


logprobs = st.integers(0, 4).flatmap(
    lambda n: st.builds(
        Logprobs,
        st.tuples(*[texts] * n),
        st.tuples(*[st.none() | st.floats(-50, 0)] * n),
        st.tuples(*[st.none() | st.dictionaries(texts, st.floats(-50, 0), max_size=2)] * n),
        st.tuples(*[st.integers(0, 999)] * n),
    )
)
choices = st.builds(
    Choice, st.integers(0, 5), texts, st.sampled_from([None, "stop", "length"]), st.none() | logprobs
)
usages = st.builds(Usage, *[st.integers(0, 3000)] * 3)


@given(
    st.builds(
        Completion,
        texts,
        texts,
        st.integers(0, 2**40),
        st.lists(choices, max_size=3).map(tuple),
        st.none() | usages,
        st.dictionaries(st.sampled_from(["queue_ms", "prefill_ms"]), st.floats(0, 1e6)),
    )
)
def test_a_completion_survives_the_wire(completion: Completion) -> None:
    assert completion_from_json(json.loads(json.dumps(completion.to_json()))) == completion


def test_chunks_add_up() -> None:
    def lp(token: str) -> Logprobs:
        return Logprobs((token,), (-1.0,), (None,), (0,))

    chunks = [
        Completion("a", "m", 1, (Choice(1, "x", None, lp("x")), Choice(0, "a", None, lp("a")))),
        Completion("a", "m", 1, (Choice(0, "b", "stop", lp("b")),)),
        Completion("a", "m", 1, (Choice(1, "", "length"),)),
        Completion("a", "m", 1, (), Usage(1, 2, 3), {"queue_ms": 1.0}),
    ]
    whole = join_chunks(chunks)
    assert [c.text for c in whole.choices] == ["ab", "x"]
    assert [c.finish_reason for c in whole.choices] == ["stop", "length"]
    assert whole.choices[0].logprobs == lp("a") + lp("b")
    assert (whole.usage, whole.timings) == (Usage(1, 2, 3), {"queue_ms": 1.0})


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, {"error": {"message": "bad", "param": "n"}}, RequestError, "bad"),
        (404, {"error": {"message": "none"}}, RequestError, "none"),
        (401, {"detail": "no"}, UnauthorizedError, "no"),
        (429, "slow down", OverloadedError, "slow down"),
        (503, {"error": "loading"}, NotReadyError, "loading"),
        (500, None, InternalError, "the server answered with status 500"),
        (502, {"error": {"message": 3}}, InternalError, "the server answered with status 502"),
    ],
)
def test_errors_of_any_server(status: int, body: object, kind: type[WireError], message: str) -> None:
    error = error_from_json(status, body)
    assert type(error) is kind
    assert error.message == message
    again = error_from_json(error.status, error.to_json())
    assert (again.message, again.param) == (error.message, error.param)


def test_an_error_in_the_middle_of_a_stream() -> None:
    with pytest.raises(WireError, match="broke"):
        completion_from_json({"error": {"message": "broke"}})
    with pytest.raises(InternalError):
        completion_from_json({"hello": 1})


def test_health_and_models_survive_the_wire() -> None:
    health = Health("loading", "nano", "loading weights", 3, 9, 12, "0.1.0")
    assert health_from_json(json.loads(json.dumps(health.to_json()))) == health
    assert health_from_json("OK").state == "ready"
    info = ModelInfo("nano", 2048, "/x/tokenizer.json", EXTENSIONS)
    assert models_from_json({"data": [json.loads(json.dumps(info.to_json()))]}) == (info,)


WORDS_EXPECTED = "'words' must be a list of at most 2,000 strings of at most 200 characters each"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n", "1", "'n' must be a whole number from 1 to 16"),
        ("n", 17, "'n' must be a whole number from 1 to 16"),
        ("n", True, "'n' must be a whole number from 1 to 16"),
        ("max_tokens", 10**400, "'max_tokens' must be a whole number from 0 to 1,000,000"),
        ("temperature", float("nan"), "'temperature' must be a number from 0 to 2"),
        ("top_p", 0, "'top_p' must be a number above 0 and up to 1"),
        ("echo", "yes", "'echo' must be true or false"),
        ("model", 5, "'model' must be a string"),
        ("stop", ["a", ""], "'stop' must be a string or a list of strings, none of them empty"),
        ("prompt", [1, "a"], "'prompt' must be a string, a list of token ids, or a list of either"),
        ("prompt", ["a", 1], "'prompt' must be a string, a list of token ids, or a list of either"),
        ("prompt", [[-1]], "'prompt' must be a string, a list of token ids, or a list of either"),
        ("stream_options", {"other": True}, "'stream_options' must be an object with include_usage"),
        ("words", "send", WORDS_EXPECTED),
        ("words", [1], WORDS_EXPECTED),
        ("words", ["a"] * (MAX_WORDS + 1), WORDS_EXPECTED),
        ("words", ["a" * (MAX_WORD + 1)], WORDS_EXPECTED),
        ("frequency_penalty", 1, "'frequency_penalty' is not supported by this engine"),
        ("tools", [], "'tools' is not supported by this engine"),
    ],
)
def test_an_error_names_the_field_and_what_it_must_be(field: str, value: object, message: str) -> None:
    _, error = _parse({"prompt": "x", field: value})
    assert error is not None
    assert error.param == field
    assert error.message.startswith(message)


def test_as_many_words_as_may_be() -> None:
    words = ["", "\n", *("a" * MAX_WORD for _ in range(MAX_WORDS - 2))]
    assert parse_request({"prompt": "x", "words": words}).words == tuple(words)


def test_the_end_user_s_name_is_accepted() -> None:
    assert parse_request({"prompt": "x", "user": "someone"}) == parse_request({"prompt": "x"})
