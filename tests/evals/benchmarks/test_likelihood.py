"""Log-likelihoods and features as others' clients get them: the public harness and OpenAI's library."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
from support.harness import likelihoods
from support.served import environment
from transformers import AutoModelForCausalLM, AutoTokenizer

from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER
from codegen_lsp.wire.client import HttpEngineClient

pytestmark = pytest.mark.e2e

THIS = Path(__file__).read_text(encoding="utf-8")

PAIRS = [
    ("def add(a, b):\n    return", " a + b\n"),
    ("import os\n", "import sys\n\n\ndef main() -> None:\n    print(sys.argv)\n"),
    ("for i in range(10):\n", "    print(i)"),
    ("", "class Stack:\n    def __init__(self):\n        self.items = []\n"),
    ("x = 'é 日本 😀'\n", "y = x.encode()\n\n\n\t\tz"),
    ("# " + "a long comment " * 60 + "\n", "pass"),
    ("class A:", "\n    def __init__(self):\n        pass\n"),
    ("class A(Exception):\n", "    pass\n"),
    # nano ends the text after this.
    ('import unittest\n\n\nif __name__ == "__main__":\n', "    unittest.main()\n"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """nano in float32 on a port of this machine, without a token of chance."""
    runtime = tmp_path_factory.mktemp("run")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "codegen_lsp", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with (runtime / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--dtype", "float32", "--token", "none"],
            env=environment(runtime),
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        token = {"Authorization": "Bearer none"}
        with httpx.Client(transport=httpx.HTTPTransport(retries=10), headers=token) as client:
            ready = False
            while not ready:
                assert process.poll() is None, (runtime / "log").read_text(encoding="utf-8")
                try:
                    ready = client.get(f"{address}/health").status_code == 200
                except httpx.TransportError:
                    continue
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def reference() -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(NANO_FOLDER)
    model = AutoModelForCausalLM.from_pretrained(NANO_FOLDER, dtype=torch.float32)
    return tokenizer, model.eval()


@torch.inference_mode()
def logprobs(model: Any, tokens: list[int]) -> torch.Tensor:
    """The log-probability of each token but the first, by transformers."""
    scores = model(torch.tensor([tokens])).logits[0, :-1].log_softmax(-1)
    return scores.gather(-1, torch.tensor(tokens[1:])[:, None])[:, 0]


@torch.inference_mode()
def next_token(model: Any, tokens: list[int]) -> int:
    """The token that is likeliest after these."""
    return int(model(torch.tensor([tokens])).logits[0, -1].argmax())


@pytest.mark.timeout(300)
def test_the_public_harness_gets_the_likelihoods_of_transformers(
    url: str, reference: tuple[Any, Any]
) -> None:
    pairs = [pair for pair in PAIRS if pair[0]]
    found, rolled, encoded = likelihoods(pairs, url, "none")
    tokenizer, model = reference
    ends = [
        next_token(model, context + continuation) == tokenizer.eos_token_id
        for context, continuation in encoded
    ]
    assert any(ends), "no text ends, so the entry of its end is not tested"
    for (total, greedy), (context, continuation) in zip(found, encoded, strict=True):
        expected = logprobs(model, context + continuation)[-len(continuation) :]
        assert total == pytest.approx(float(expected.sum()), abs=1e-4)
        assert isinstance(greedy, bool)
    assert all(math.isfinite(total) and total < 0 for total in rolled)


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_openai_library_scores(url: str, reference: tuple[Any, Any], pair: tuple[str, str]) -> None:
    tokenizer, model = reference
    text = "".join(pair)
    with client(url) as opened:
        answer = opened.completions.create(model="nano", prompt=text, max_tokens=0, echo=True, logprobs=0)
    scored = answer.choices[0].logprobs
    assert scored is not None
    assert scored.token_logprobs is not None
    assert answer.choices[0].text == text
    assert scored.token_logprobs[0] is None
    expected = logprobs(model, tokenizer(text).input_ids)
    assert scored.token_logprobs[1:] == pytest.approx(expected.tolist(), abs=1e-4)


def test_the_openai_library_streams(url: str) -> None:
    with client(url) as opened:
        fields: dict[str, Any] = {
            "model": "nano",
            "prompt": "def add(a, b):",
            "max_tokens": 12,
            "temperature": 0,
        }
        whole = opened.completions.create(**fields).choices[0].text
        chunks = [c.choices[0].text for c in opened.completions.create(**fields, stream=True) if c.choices]
    assert len(chunks) > 1
    assert "".join(chunks) == whole


@torch.inference_mode()
def states(reference: tuple[Any, Any], text: str, layer: int) -> torch.Tensor:
    tokenizer, model = reference
    tokens = torch.tensor([tokenizer(text).input_ids])
    found: torch.Tensor = model(tokens, output_hidden_states=True).hidden_states[layer][0]
    return found


def test_the_openai_library_embeds(url: str, reference: tuple[Any, Any]) -> None:
    texts = ["def add(a, b):\n    return a + b\n", "x = 'é😀'", "class A:\n    pass\n" * 40]
    with client(url) as opened:
        answer = opened.embeddings.create(model="nano", input=texts)
        plain = opened.embeddings.create(model="nano", input=texts, encoding_format="float")
    assert [d.index for d in answer.data] == [0, 1, 2]
    tokenizer, _ = reference
    assert answer.usage.prompt_tokens == sum(len(tokenizer(t).input_ids) for t in texts)
    for text, packed, numbers in zip(texts, answer.data, plain.data, strict=True):
        expected = torch.nn.functional.normalize(states(reference, text, -1)[-1], dim=0)
        assert packed.embedding == pytest.approx(expected.tolist(), abs=1e-5)
        assert numbers.embedding == pytest.approx(packed.embedding, abs=1e-6)


@pytest.mark.parametrize("layer", [0, 1, -1, -2])
@pytest.mark.parametrize("pooling", ["last", "mean"])
async def test_any_layer_and_pooling(url: str, reference: tuple[Any, Any], layer: int, pooling: str) -> None:
    text = THIS[:2500]
    engine = HttpEngineClient(url=url, token="none")
    try:
        found = await engine.embeddings([text, text[:1000]], layer=layer, pooling=pooling, normalize=False)
    finally:
        await engine.aclose()
    for each, vector in zip((text, text[:1000]), found, strict=True):
        hidden = states(reference, each, layer)
        expected = hidden[-1] if pooling == "last" else hidden.mean(0)
        assert vector == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input", None),
        ("input", []),
        ("input", ["a", 1]),
        ("input", "x " * 5000),
        ("pooling", "max"),
        ("pooling", 1),
        ("layer", 1000),
        ("layer", True),
        ("layer", "last"),
        ("normalize", 1),
        ("encoding_format", "int8"),
        ("dimensions", 64),
        ("colour", "red"),
    ],
)
def test_wrong_fields_are_named(url: str, field: str, value: object) -> None:
    headers = {"Authorization": "Bearer none"}
    response = httpx.post(f"{url}/v1/embeddings", json={"input": "x", field: value}, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == field
    assert response.json()["error"]["message"]
