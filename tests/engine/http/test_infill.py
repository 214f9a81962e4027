"""Requests as plugins for other servers send them, replayed against a real engine that was trained to fill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fill import save_to_copy
from support.served import Served, serving

pytestmark = pytest.mark.e2e

REQUESTS = json.loads((Path(__file__).parent / "requests" / "plugins.json").read_text(encoding="utf-8"))
"""What llama.vim, llama.vscode, continue, minuet, Tabby and llm.nvim send, from their sources."""
FORMAT = {
    "family": "tiny",
    "psm": "<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",
    "stop": "<|endoftext|>",
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    run = tmp_path_factory.mktemp("run")
    folder = save_to_copy(tmp_path_factory.mktemp("copy"), "psm")
    description = run / "format.json"
    description.write_text(json.dumps(FORMAT))
    options = ("--fill-in-the-middle", "always", "--fim-format", str(description))
    with serving(run, "--model", str(folder), *options) as served:
        yield served


def sent(engine: Served, name: str, **changes: Any) -> Any:
    request = REQUESTS[name]
    body = request["body"] | changes
    if "model" in body:
        body["model"] = engine.client.get("/v1/models").json()["data"][0]["id"]
    response = engine.client.post(request["path"], json=body, headers=request.get("headers"))
    assert response.status_code == 200, response.text
    if not body.get("stream"):
        return response.json()
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_the_engine_says_how_it_fills(engine: Served) -> None:
    (model,) = engine.client.get("/v1/models").json()["data"]
    fill = model["fill_in_the_middle"]
    assert (fill["family"], fill["order"]) == ("tiny", "psm")
    assert set(fill["scores"]) == {"left-to-right", "psm"}


@pytest.mark.parametrize("extra", [True, False])
@pytest.mark.parametrize("name", ["llama.vim", "llama.vscode"])
def test_infill(engine: Served, name: str, extra: bool) -> None:
    more: dict[str, Any] = {} if extra else {"input_extra": []}
    body = sent(engine, name, **more)
    if not extra:  # other files are new to the tiny model
        assert body["content"].strip() == "model"
    wanted = REQUESTS[name]["body"].get("response_fields")
    if wanted:
        assert set(body) == set(wanted)
        assert body["timings/predicted_n"] >= 1
    else:
        assert body["stop"] is True
        assert body["timings"]["prompt_n"] + body["timings"]["cache_n"] == body["tokens_evaluated"]
        assert body["timings"]["predicted_per_second"] > 0


@pytest.mark.parametrize("name", ["llama.vim-ring", "llama.vscode-extra"])
def test_reading_other_files_ahead(engine: Served, name: str) -> None:
    body = sent(engine, name)
    assert body.get("content", "") == ""


def test_infill_streams(engine: Served) -> None:
    events = sent(engine, "llama.vscode", stream=True, input_extra=[])
    assert "".join(event["content"] for event in events).strip() == "model"
    assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["timings"]["predicted_n"] >= 1


def test_continue_and_minuet(engine: Served) -> None:
    events = sent(engine, "minuet")  # it samples: any word that the model knows
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    for name in ("continue-completions", "minuet"):
        events = sent(engine, name, temperature=0)
        assert "".join(event["choices"][0]["text"] for event in events) == "model"
    events = sent(engine, "continue-fim")
    assert "".join(event["choices"][0]["delta"]["content"] for event in events) == "model"
    whole = sent(engine, "continue-fim", stream=False)
    assert whole["choices"][0]["message"]["content"] == "model"


def test_tabby(engine: Served) -> None:
    events = sent(engine, "tabby")
    assert "".join(event["choices"][0]["text"] for event in events) == "model"
    assert events[-1]["choices"][0]["finish_reason"] == "stop"


def test_llm_nvim(engine: Served) -> None:
    """By its default settings it writes control tokens into the text; they say where the cursor is."""
    assert sent(engine, "llm.nvim")["choices"][0]["text"] == "model"
    for word in ("usage", "body"):
        prompt = f"<fim_prefix>class text:\n    key = <fim_suffix>\n    use({word})\n<fim_middle>"
        assert sent(engine, "llm.nvim", prompt=prompt)["choices"][0]["text"] == word


@pytest.mark.parametrize(
    ("prompt", "prefix", "suffix"),
    [
        ("<fim_prefix>a<fim_middle><fim_suffix>b<fim_middle>", "a<fim_middle>", "b"),
        (
            "<|fim_prefix|>a<fim_suffix><|fim_suffix|><fim_prefix>b<|fim_middle|>",
            "a<fim_suffix>",
            "<fim_prefix>b",
        ),
        ("<PRE> a <SUF>b <MID>", "a", "b"),
        ("<｜fim▁begin｜>a<｜fim▁hole｜>b<｜fim▁end｜>", "a", "b"),
        ("<fim_prefix>a<fim_suffix><fim_middle>", "a", ""),
        ("x<fim_prefix>a<fim_suffix>b<fim_middle>", "x<fim_prefix>a<fim_suffix>b<fim_middle>", ""),
        ("<fim_prefix>a<fim_middle>", "<fim_prefix>a<fim_middle>", ""),
        ("plain", "plain", ""),
    ],
)
def test_llm_nvims_text_is_taken_apart_and_stays_text(
    engine: Served, prompt: str, prefix: str, suffix: str
) -> None:
    """The same prompt of ids as when the parts come apart: no control token arises from a user's text."""
    fields = {"max_tokens": 4, "temperature": 0, "logprobs": 1}
    joined = sent(engine, "llm.nvim", prompt=prompt, **fields)
    apart = sent(engine, "minuet", prompt=prefix, suffix=suffix, stream=False, stop=[], **fields)
    for key in ("prompt_tokens", "completion_tokens"):
        assert joined["usage"][key] == apart["usage"][key]
    (first,), (second,) = joined["choices"], apart["choices"]
    assert first["text"] == second["text"]
    expected = pytest.approx(second["logprobs"]["token_logprobs"], abs=1e-3)
    assert first["logprobs"]["token_logprobs"] == expected


def test_llm_nvims_text_that_names_the_separator_itself_is_refused(engine: Served) -> None:
    request = REQUESTS["llm.nvim"]
    model = engine.client.get("/v1/models").json()["data"][0]["id"]
    prompt = "<fim_prefix>mark = '<fim_suffix>'<fim_suffix>\n<fim_middle>"
    body = request["body"] | {"prompt": prompt, "model": model}
    response = engine.client.post(request["path"], json=body, headers=request["headers"])
    assert response.status_code == 400
    assert "'<fim_suffix>'" in response.json()["error"]["message"]


def test_other_clients_texts_are_never_taken_apart(engine: Served) -> None:
    """A document may hold what llm.nvim sends."""
    prompt = REQUESTS["llm.nvim"]["body"]["prompt"]
    usages = [
        sent(engine, name, prompt=prompt, suffix="", stream=False, max_tokens=1)["usage"]["prompt_tokens"]
        for name in ("minuet", "llm.nvim")
    ]
    assert usages[0] > usages[1]


@pytest.mark.parametrize("name", ["llm.nvim-tgi", "llm.nvim-huggingface"])
def test_llm_nvims_other_backends_get_one_sentence(engine: Served, name: str) -> None:
    request = REQUESTS[name]
    response = engine.client.post(request["path"], json=request["body"], headers=request["headers"])
    assert response.status_code in (404, 405)
    assert request["path"] in response.json()["error"]["message"]


def test_the_text_after_the_cursor_decides(engine: Served) -> None:
    for word in ("usage", "body"):
        body = sent(engine, "llama.vscode", input_suffix=f"\n    use({word})\n", input_extra=[])
        assert body["content"].strip() == word


def test_too_much_text_is_cut_and_not_refused(engine: Served) -> None:
    """A context of 256: what is farthest from the cursor goes."""
    body = sent(
        engine,
        "llama.vscode",
        input_prefix="x = 1\n" * 500 + "class text:\n",
        input_suffix="\n    use(model)\n" + "y = 2\n" * 500,
        n_predict=8,
    )
    assert body["tokens_evaluated"] <= 256


@pytest.mark.parametrize("text", ["b" * 40_000, "b\n" * 20_000, "b"])
def test_many_files_take_no_longer_than_those_that_fit(engine: Served, text: str) -> None:
    """Tokenizing all of them again for each that is dropped took minutes."""
    body = {"prompt": "x = ", "max_tokens": 1, "files": [{"path": "a" * 4000, "text": text}] * 200}
    response = engine.client.post("/v1/completions", json=body | {"suffix": "y\n" * 10**5}, timeout=50)
    response.raise_for_status()
    assert response.json()["usage"]["prompt_tokens"] <= 256


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_prefix", 1),
        ("input_extra", "x"),
        ("n_predict", "x"),
        ("temperature", 9),
        ("response_fields", ["x"] * 65),
        ("response_fields", ["a/" * 101]),
    ],
)
def test_wrong_fields_are_named(engine: Served, field: str, value: Any) -> None:
    response = engine.client.post("/infill", json={"input_prefix": "x", field: value})
    assert response.status_code == 400
    assert field in response.json()["error"]["message"]
