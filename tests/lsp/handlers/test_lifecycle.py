"""Settings as clients send them, and what each does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from support.editor import StartEditor
from support.fake_engine import FakeEngine

CODE = "def add(a, b):\n    return "
END = (1, 11)


async def test_options_and_settings_are_laid_over_each_other(editor: StartEditor, fake: FakeEngine) -> None:
    options = {"candidates": 7, "debounce": 10, "editorInfo": {"name": "x"}, "editorPluginInfo": {}}
    ed = await editor({"candidates": 2}, options=options)
    await ed.inline(ed.open(CODE), *END)
    assert fake.completions[0]["n"] == 2
    assert ed.messages == []


async def test_a_bad_setting_is_told_and_costs_no_other(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"candidates": "many", "maxTokensLine": 9, "candidtes": 3}, options={"debounce": -1})
    await ed.inline(ed.open(CODE), *END)
    assert fake.completions[0]["max_tokens"] == 9
    assert len(ed.messages) == 3
    assert any("codegen.candidates" in m and "whole number" in m for m in ed.messages)
    assert any("did you mean codegen.candidates?" in m for m in ed.messages)
    assert any("codegen.debounce" in m for m in ed.messages)
    ed.client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(None))
    await asyncio.sleep(0.5)
    assert len(ed.messages) == 2 + 1, "what was told is not told again"


async def test_settings_that_change_are_applied(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"candidates": 2})
    uri = ed.open(CODE)
    await ed.inline(uri, *END)
    ed.client.set_configuration(
        {"codegen": {"server": fake.url, "candidates": 4, "multiline": "always", "maxTokensBlock": 77}}
    )
    ed.client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(None))
    async with asyncio.timeout(10):  # the server has the new settings once it has asked for them
        while (fake.completions[-1]["n"], fake.completions[-1]["max_tokens"]) != (10, 77):
            await ed.inline(uri, *END, invoked=True)


async def test_another_server_takes_over_in_the_middle(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.rows, fake.step = ["x" * 400], 0.05
    uri = ed.open(CODE)
    request = asyncio.ensure_future(ed.inline(uri, *END))
    await ed.until(lambda: fake.completions)
    async with FakeEngine() as other:
        ed.client.set_configuration({"codegen": {"server": other.url, "warm": False}})
        ed.client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(None))
        with pytest.raises(JsonRpcException) as caught:
            await request
        assert caught.value.code == -32800
        await ed.until(lambda: fake.cancelled == 1)
        await ed.until(lambda: other.headers and ed.status["state"] == "ready")
        assert await ed.inline(uri, *END, invoked=True)
        assert other.completions
        assert fake.state == "ready", "the model of a server elsewhere is for others too"


async def test_turned_off_nothing_is_asked_or_answered(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"enabled": False})
    uri = ed.open(CODE)
    await ed.until(lambda: ed.status["state"] == "paused")
    assert not await ed.inline(uri, *END)
    assert not (await ed.menu(uri, *END)).items
    assert not fake.requests
    ed.client.set_configuration({"codegen": {"server": fake.url}})
    ed.client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(None))
    await ed.until(lambda: ed.status["state"] == "ready")
    assert await ed.inline(uri, *END)


async def test_ghost_text_and_menu_each_have_a_switch(editor: StartEditor) -> None:
    ed = await editor({"inline": False})
    uri = ed.open(CODE)
    assert not await ed.inline(uri, *END)
    assert (await ed.menu(uri, *END)).items
    other = await editor({"menu": False})
    uri = other.open(CODE)
    assert await other.inline(uri, *END)
    assert not (await other.menu(uri, *END)).items


async def test_languages_and_sizes(editor: StartEditor) -> None:
    ed = await editor({"languages": {"*": False, "python": True}, "maxFileSize": 60})
    assert await ed.inline(ed.open(CODE), *END)
    assert not await ed.inline(ed.open(CODE, "a.c", "c"), *END)
    assert await ed.reason() == "language-disabled"
    assert not await ed.inline(ed.open("x" * 61, "long.py"), 0, 61)
    assert await ed.reason() == "document-too-large"
    assert not await ed.inline(ed.open("ä" * 31, "wide.py"), 0, 31)
    assert await ed.reason() == "document-too-large"


async def test_debounce_waits_for_the_next_keystroke(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"debounce": 400})
    uri = ed.open(CODE)
    first = asyncio.ensure_future(ed.inline(uri, *END))
    await asyncio.sleep(0)
    ed.insert(uri, lsp.Position(*END), "z")
    assert await ed.inline(uri, 1, END[1] + 1)
    with pytest.raises(JsonRpcException):
        await first
    assert [r["prompt"][-1] for r in fake.completions] == ["z"]
    uri = ed.open(CODE, "b.py")
    assert await ed.inline(uri, *END, invoked=True)


async def test_sampling_is_what_the_user_asked_for(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"temperature": 0.7, "topP": 0.5, "candidates": 2})
    await ed.inline(ed.open(CODE), *END)
    (request,) = fake.completions
    assert (request["temperature"], request["top_p"]) == (0.7, 0.5)
    assert "branch" not in request


async def test_the_token_reaches_the_server(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"token": "s3cret"})
    await ed.inline(ed.open(CODE), *END)
    assert {h.get("authorization") for h in fake.headers} == {"Bearer s3cret"}


async def test_no_place_for_an_engine_is_told(editor: StartEditor, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    env = {"CODEGEN_LSP_RUNTIME_DIR": str(tmp_path / "file"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    ed = await editor({"server": ""}, env=env)
    await ed.until(lambda: ed.status["state"] == "error")
    assert "can't be started" in ed.status["message"]
    assert not await ed.inline(ed.open(CODE), *END)
    assert await ed.reason() == "engine-unavailable"


async def test_a_server_that_is_not_there_is_told(editor: StartEditor) -> None:
    ed = await editor({"server": "http://127.0.0.1:9"})
    await ed.until(lambda: ed.status["state"] == "error")
    assert "http://127.0.0.1:9" in ed.status["message"]
    assert ed.status["kind"] == "Error"
    assert not await ed.inline(ed.open(CODE), *END)
    assert await ed.reason() == "engine-unavailable"
