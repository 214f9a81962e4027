"""Completions servers of other projects as a language server uses them: the model, the fallbacks, the refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.editor import StartEditor
from support.fake_engine import until
from support.scripted_server import Respond, ScriptedServer, event, reply, stream

from codegen_lsp.lsp.engines.remote import RemoteBackend
from codegen_lsp.lsp.options.options import FILTERED

CODE = "def add(a, b):\n    return "
END = (1, 11)
LISTED = {"data": [{"id": "first", "max_model_len": 99}, {"id": "second", "meta": {"n_ctx_train": 512}}]}


def plain(models: object | None) -> Respond:
    """Return a completions server without a health page, and without a list of models if that is None."""

    def respond(path: str, body: dict[str, Any]) -> Any:
        if path == "/v1/models" and models is not None:
            return reply(body=models)
        if path != "/v1/completions":
            return reply(404)
        if not body.get("stream"):
            return reply(body={"choices": [{"text": "a + b", "finish_reason": "length"}]})
        rows = range(body.get("n", 1))
        text = "a + b" if body["prompt"].endswith(" ") else " a + b"
        return stream(*(event(text, index=row, finish_reason="stop") for row in rows))

    return respond


@pytest.mark.parametrize(
    ("models", "chosen", "model", "context"),
    [
        (LISTED, "", "first", 99),
        (LISTED, "second", "second", 512),
        (LISTED, "unlisted", "unlisted", 2048),
        ({"data": []}, "", "", 2048),
        (None, "", "", 2048),
        (None, "chosen", "chosen", 2048),
    ],
)
async def test_the_model_that_is_requested(models: object, chosen: str, model: str, context: int) -> None:
    async with ScriptedServer(plain(models)).running() as server:
        backend = RemoteBackend(server.url, "", 5, lambda _: None, chosen)
        backend.start()
        await until(lambda: backend.state.phase != "starting")
        assert (backend.state.phase, backend.info.id, backend.info.max_model_len) == ("ready", model, context)
        assert backend.state.message == f"{model or 'The server'} at {server.url} is ready."
        assert backend.engine.model == model
        await backend.aclose()


@pytest.mark.parametrize("chosen", ["", "second"])
async def test_a_suggestion_from_a_server_of_another_project(editor: StartEditor, chosen: str) -> None:
    async with ScriptedServer(plain(LISTED)).running() as server:
        ed = await editor({"server": server.url, "serverModel": chosen, "candidates": 1, "minConfidence": 0})
        await ed.ready()
        items = await ed.inline(ed.open(CODE), *END, invoked=True)
        assert [item.insert_text for item in items] == ["a + b"]
        body = next(body for _, body in server.requests if body.get("stream"))
        assert (body["model"], body["n"]) == (chosen or "first", 1)


def asked_for_text(server: ScriptedServer) -> list[dict[str, Any]]:
    return [body for path, body in server.requests if path == "/v1/completions" and body.get("stream")]


async def test_a_keystroke_asks_for_one_greedy_row_and_a_request_by_hand_for_more(
    editor: StartEditor,
) -> None:
    async with ScriptedServer(plain(LISTED)).running() as server:
        ed = await editor({"server": server.url, "minConfidence": 0})
        await ed.ready()
        uri = ed.open(CODE)
        await ed.inline(uri, *END)
        assert [(body["n"], body["temperature"]) for body in asked_for_text(server)] == [(1, 0.0)]
        server.requests.clear()
        await ed.inline(uri, *END, invoked=True)
        rows = sorted((body["temperature"], body["n"]) for body in asked_for_text(server))
        assert rows == [(0.0, 1), (0.4, 4)]
        names = {line for head in server.headers for line in head.split("\r\n") if "session-id" in line}
        assert len(names) == 1
        assert "a.py" not in names.pop()


def scoring(echoes: bool) -> Respond:
    """Return a server that makes two different rows, and scores prompts if it `echoes`."""

    def respond(path: str, body: dict[str, Any]) -> Any:
        if path == "/v1/models":
            return reply(body=LISTED)
        if path != "/v1/completions":
            return reply(404)
        if body.get("stream"):
            rows = range(body.get("n", 1))
            space = "" if body["prompt"].endswith(" ") else " "
            texts = (space + "a + b", space + "b - a")
            return stream(
                *(event(texts[(row + (body["n"] > 1)) % 2], index=row, finish_reason="stop") for row in rows)
            )
        prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
        choices = []
        for index, prompt in enumerate(prompts):
            likely = -0.1 if "b - a" in prompt else -3.0
            scores = {
                "tokens": list(prompt),
                "token_logprobs": [None, *[likely] * (len(prompt) - 1)],
                "text_offset": list(range(len(prompt))),
            }
            choices.append({"index": index, "text": prompt} | ({"logprobs": scores} if echoes else {}))
        return reply(body={"choices": choices})

    return respond


@pytest.mark.parametrize("echoes", [True, False])
async def test_suffixes_are_scored_by_servers_that_can_and_others_are_tried_once(
    editor: StartEditor, echoes: bool
) -> None:
    async with ScriptedServer(scoring(echoes)).running() as server:
        ed = await editor({"server": server.url, "minConfidence": 0, "suffixRanking": True})
        await ed.ready()
        for number in range(2):
            uri = ed.open(CODE + "\n\n\nprint(add(1, 2))\n", f"{number}.py")
            items = await ed.inline(uri, *END, invoked=True)
            assert {item.insert_text for item in items} == {"a + b", "b - a"}
        probes = [b for _, b in server.requests if b.get("echo") and b["prompt"] == "a = 1\n"]
        scored = [b for _, b in server.requests if b.get("echo") and b["prompt"] != "a = 1\n"]
        assert (len(probes), len(scored)) == (1, 2 if echoes else 0)


async def test_a_limit_s_reason_reaches_the_editor(editor: StartEditor) -> None:
    good = plain(LISTED)
    limit = reply(429, {"error": {"message": "ann may send 60 requests a minute"}}, Retry_After="30")
    async with ScriptedServer(
        lambda path, asked: limit if path == "/v1/completions" else good(path, asked)
    ).running() as server:
        ed = await editor({"server": server.url})
        await ed.ready()
        assert list(await ed.inline(ed.open(CODE), *END)) == []
        last = await ed.command("codegen.showLastRequest")
        assert (last["reason"], last["message"]) == ("busy", "ann may send 60 requests a minute")
        await until(lambda: "60 requests a minute" in ed.status.get("message", ""))


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [None]},
        {"choices": [{"index": "0", "text": 5}]},
        {"choices": {"text": "nested"}},
        [1],
        "text",
    ],
    ids=json.dumps,
)
async def test_a_hostile_answer_is_a_reason_with_a_sentence(editor: StartEditor, body: object) -> None:
    data = b"data: " + json.dumps(body).encode() + b"\n\n"
    good = plain(LISTED)
    async with ScriptedServer(
        lambda path, asked: stream(data) if path == "/v1/completions" else good(path, asked)
    ).running() as server:
        ed = await editor({"server": server.url})
        await ed.ready()
        assert list(await ed.inline(ed.open(CODE), *END, invoked=True)) == []
        last = await ed.command("codegen.showLastRequest")
        assert last["reason"] == "engine-error"
        assert "completions server" in last["message"]


async def test_settings_that_can_t_be_used_are_told_and_the_defaults_apply(editor: StartEditor) -> None:
    wrong = {
        "model": "a\0b",
        "offloadFolder": "~no-such-user/x",
        "prefixCache": "9" * 309,
        "token": "ü",
        "timeout": 10**300,
        "revision": "\ud800",
    }
    ed = await editor(options={FILTERED: True} | wrong)
    assert await ed.inline(ed.open(CODE), *END), "suggestions come all the same"
    for name in wrong:
        assert sum(f"Setting codegen.{name}" in message for message in ed.messages) == 1, name
    assert len(ed.messages) == len(wrong)
    assert all("so the default" in message for message in ed.messages)
