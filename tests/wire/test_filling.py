"""Middles from servers of other projects: their fields, routes and tokens."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_engine import until
from support.scripted_server import ScriptedServer, event, reply, stream

from codegen_lsp.lsp.engines.remote import RemoteBackend
from codegen_lsp.wire.answers import Completion, join_chunks
from codegen_lsp.wire.client import HttpEngineClient
from codegen_lsp.wire.fill.families import CONTROL_TOKENS, FAMILIES, by_family
from codegen_lsp.wire.fill.formats import FillFormat
from codegen_lsp.wire.requests import CompletionRequest
from codegen_lsp.wire.transport.filling import Filling, filling_for

REQUEST = CompletionRequest(
    prompts=("def f(x):\n    y = ",), suffix="\n    return y\n", max_tokens=8, stop=("\n",), stream=True
)
PIECES = sorted(
    CONTROL_TOKENS | {token[:5] for token in CONTROL_TOKENS} | {" <PRE>", "x = 1\n", " ", "▁", ">"}
)
QWEN = by_family("Qwen2.5-Coder")
QWEN_TEXT = "<|fim_prefix|>def f(x):\n    y = <|fim_suffix|>\n    return y\n<|fim_middle|>"


async def filled(
    filling: Filling | None, respond: Any, request: CompletionRequest = REQUEST
) -> tuple[Completion, list[tuple[str, dict[str, Any]]]]:
    async with ScriptedServer(respond).running() as server:
        client = HttpEngineClient(url=server.url)
        client.filling = filling
        try:
            answer = join_chunks([chunk async for chunk in client.stream(request)])
        finally:
            await client.aclose()
        return answer, server.requests


def completes(path: str, body: dict[str, Any]) -> Any:
    return stream(event("x + 1", finish_reason="stop"))


@pytest.mark.parametrize(
    ("owner", "model", "mode", "way"),
    [
        ("library", "qwen2.5-coder:0.5b", "auto", "suffix"),
        ("llamacpp", "qwen2.5-coder-0.5b-q8_0.gguf", "auto", "infill"),
        ("vllm", "Qwen/Qwen2.5-Coder-1.5B", "auto", "text"),
        ("", "deepseek-coder-1.3b-base", "auto", "text"),
        ("vllm", "meta-llama/Llama-3-8B", "auto", None),
        ("vllm", "meta-llama/Llama-3-8B", "always", "suffix"),
        ("vllm", "Qwen/Qwen2.5-Coder-1.5B", "never", None),
    ],
)
async def test_the_way_of_a_server(owner: str, model: str, mode: Any, way: str | None) -> None:
    def respond(path: str, body: dict[str, Any]) -> Any:
        return reply(404) if path == "/health" else reply(body={"data": [{"id": model, "owned_by": owner}]})

    async with ScriptedServer(respond).running() as server:
        backend = RemoteBackend(server.url, "", 5, lambda _: None, fill=mode)
        backend.start()
        await until(lambda: backend.state.phase == "ready")
        filling, fill = backend.engine.filling, backend.info.fill
        await backend.aclose()
    assert (filling.way if filling else None) == way
    assert (fill is not None and fill.fills) == (way is not None)


async def test_the_field() -> None:
    answer, requests = await filled(Filling("suffix", QWEN), completes)
    ((path, body),) = requests
    assert (path, body["prompt"], body["suffix"]) == ("/v1/completions", *REQUEST.prompts, REQUEST.suffix)
    assert answer.choices[0].text == "x + 1"


async def test_a_server_that_refuses_the_field_is_asked_left_to_right() -> None:
    def respond(path: str, body: dict[str, Any]) -> Any:
        if "suffix" in body:
            return reply(400, {"error": {"message": "suffix is not currently supported"}})
        return completes(path, body)

    answer, requests = await filled(Filling("suffix", QWEN), respond)
    assert answer.choices[0].text == "x + 1"
    assert ["suffix" in body for _, body in requests] == [True, False]


async def test_tokens_in_the_text() -> None:
    _, requests = await filled(Filling("text", QWEN), completes)
    ((path, body),) = requests
    assert (path, body["prompt"]) == ("/v1/completions", QWEN_TEXT)
    assert "suffix" not in body
    assert len(body["stop"]) == 4
    assert body["stop"][0] == "\n"


@pytest.mark.parametrize("text", ["<|fim_middle|>", "<|im_start|>"])
async def test_text_that_names_a_token_is_not_sent_among_tokens(text: str) -> None:
    request = CompletionRequest(prompts=(f"x = '{text}'\ny = ",), suffix="\nz\n", stream=True)
    _, requests = await filled(Filling("text", QWEN), completes, request)
    ((_, body),) = requests
    assert body["prompt"] == request.prompts[0]


@given(
    family=st.sampled_from(FAMILIES),
    pieces=st.lists(st.sampled_from(PIECES), max_size=6),
    at=st.integers(0, 6),
)
def test_a_text_form_has_the_control_tokens_of_its_template(
    family: FillFormat, pieces: list[str], at: int
) -> None:
    """Whatever the user's text: it is sent among control tokens only if it names none of the family's."""
    prefix, suffix = "".join(pieces[:at]) or "x", "".join(pieces[at:]) or "y"
    filling = Filling("text", family)
    body = filling.adapt({"prompt": prefix, "suffix": suffix})
    assert "suffix" not in body
    if body["prompt"] == prefix:
        assert any(token.lstrip("▁") in prefix + suffix for token in (*family.tokens, *family.stops))
        return
    names = re.compile(
        "|".join(map(re.escape, sorted((*family.tokens, *family.stops), key=len, reverse=True)))
    )
    tame = filling.adapt({"prompt": "x", "suffix": "y"})["prompt"]
    assert names.findall(body["prompt"]) == names.findall(tame)
    assert prefix in body["prompt"]
    assert suffix in body["prompt"]


async def test_stops_that_were_not_sent_are_cut_here() -> None:
    def respond(path: str, body: dict[str, Any]) -> Any:
        assert "<|repo_name|>" not in body["stop"]
        return stream(event("x + "), event("1<|repo"), event("_name|>more"), event("", finish_reason="stop"))

    answer, _ = await filled(Filling("text", QWEN), respond)
    assert answer.choices[0].text == "x + 1"

    def spurious(path: str, body: dict[str, Any]) -> Any:
        return stream(event("x <|repo"), event(" 1", finish_reason="length"))

    answer, _ = await filled(Filling("text", QWEN), spurious)
    assert answer.choices[0].text == "x <|repo 1"


async def test_the_route_of_llama_cpp() -> None:
    def respond(path: str, body: dict[str, Any]) -> Any:
        assert path == "/infill"
        last = {
            "content": "1",
            "stop": True,
            "stop_type": "eos",
            "tokens_evaluated": 9,
            "tokens_predicted": 3,
        }
        parts = ({"content": "x + ", "stop": False}, last)
        return stream(*(f"data: {json.dumps(part)}\n\n".encode() for part in parts))

    answer, requests = await filled(Filling("infill", QWEN), respond)
    ((_, body),) = requests
    assert (body["input_prefix"], body["input_suffix"], body["n_predict"]) == (
        *REQUEST.prompts,
        REQUEST.suffix,
        8,
    )
    assert answer.choices[0].text == "x + 1"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 9


async def test_without_a_way_the_suffix_stays_here() -> None:
    _, requests = await filled(None, completes)
    ((path, body),) = requests
    assert path == "/v1/completions"
    assert "suffix" not in body


def test_the_user_s_format_is_taken() -> None:
    filling = filling_for("vllm", "my-model", by_family("Codestral"), "auto")
    assert filling is not None
    assert filling.order == "spm"
    assert filling.adapt({"prompt": "p", "suffix": "s"}) == {"prompt": "[SUFFIX]s[PREFIX]p"}
