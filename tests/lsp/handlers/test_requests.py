"""Requests that overlap with another one, a change or a cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from support.editor import CANCELLED, Editor, StartEditor, refusal, text_of
from support.fake_engine import FakeEngine

CODE = "def add(a, b):\n    return "
END = (1, 11)
REQUEST = "request"


async def generating(ed: Editor, fake: FakeEngine) -> tuple[str, asyncio.Future[Any]]:
    """Open a document and request a long suggestion; return the URI and the request once the engine decodes."""
    fake.rows, fake.step = ["x" * 4000], 0.02
    uri = ed.open(CODE)
    request = ed.send_inline(REQUEST, uri, *END)
    await ed.until(lambda: len(fake.completions) == 1)
    return uri, request


async def test_a_newer_request_cancels_the_older(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    uri, older = await generating(ed, fake)
    ed.insert(uri, lsp.Position(*END), "b")
    fake.rows = [" + a"]
    newer = asyncio.ensure_future(ed.inline(uri, 1, END[1] + 1))
    assert await refusal(older) == CANCELLED
    assert text_of((await newer)[0]) == " + a"
    await ed.until(lambda: fake.cancelled == 1)


async def test_documents_do_not_cancel_each_other(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.step = 0.05
    one, two = ed.open(CODE, "one.py"), ed.open(CODE + "(", "two.py")
    both = await asyncio.gather(ed.inline(one, *END), ed.inline(two, 1, END[1] + 1))
    assert all(both)


async def test_cancelling_stops_the_generation(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    _, request = await generating(ed, fake)
    ed.cancel(REQUEST)
    assert await refusal(request) == CANCELLED
    await ed.until(lambda: fake.cancelled == 1)
    assert await ed.reason() == "cancelled"


async def test_one_of_two_who_share_may_leave(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.rows, fake.step = ["a + b + c + d"], 0.1
    uri = ed.open(CODE)
    inline = ed.send_inline(REQUEST, uri, *END)
    menu = asyncio.ensure_future(ed.menu(uri, *END))
    await ed.until(lambda: len(fake.completions) == 1)
    await asyncio.sleep(0.1)
    ed.cancel(REQUEST)
    assert await refusal(inline) == CANCELLED
    assert (await menu).items
    assert (len(fake.completions), fake.cancelled) == (1, 0)


async def test_others_are_served_while_a_generation_runs(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    uri, request = await generating(ed, fake)
    for _ in range(20):
        ed.insert(uri, lsp.Position(0, 0), "#")
        assert (await ed.command("codegen.status"))["state"] == "busy"
    with pytest.raises(JsonRpcException):
        await ed.client.text_document_hover_async(
            lsp.HoverParams(lsp.TextDocumentIdentifier(uri), lsp.Position(0, 0))
        )
    assert not request.done()
    await ed.client.shutdown_async(None)
    assert await refusal(request) == CANCELLED


async def test_the_status_says_when_a_request_takes_a_while(editor: StartEditor, fake: FakeEngine) -> None:
    fake.rows, fake.step = ["a + b + c + d"], 0.1
    ed = await editor()
    await ed.inline(ed.open(CODE), *END)
    await ed.until(lambda: ed.states[-2:] == ["busy", "ready"])


async def test_a_request_sees_the_text_of_its_moment(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    uri = ed.open("x = ")
    asked = [asyncio.ensure_future(ed.inline(uri, 0, 4, invoked=True))]
    await asyncio.sleep(0)
    ed.insert(uri, lsp.Position(0, 0), "# ")
    await asyncio.gather(*asked)
    assert fake.completions[0]["prompt"] == "x = "


async def test_menu_and_ghost_text_share_one_generation(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.step = 0.05
    uri = ed.open(CODE)
    items, menu = await asyncio.gather(ed.inline(uri, *END), ed.menu(uri, *END))
    assert items
    assert menu.items
    assert len(fake.completions) == 1


@pytest.mark.parametrize(
    ("setting", "lowest", "highest"), [({}, 1000, 2048), ({"promptTokens": 512}, 128, 512)]
)
async def test_a_prompt_is_bounded_however_much_the_model_can_read(
    editor: StartEditor, fake: FakeEngine, setting: dict[str, int], lowest: int, highest: int
) -> None:
    fake.context, fake.prompt_tokens = 131_072, 0
    ed = await editor(setting)
    uri = ed.open("".join(f"name_{number} = {number}\n" for number in range(5000)) + "x = ")
    await ed.inline(uri, 5000, 4, invoked=True)
    prompt = (await ed.last())["prompt"]
    assert lowest <= prompt["tokens"] <= highest
    assert fake.completions[-1]["prompt"].endswith("name_4999 = 4999\nx = ")


async def test_requests_while_loading_are_empty_and_not_lost(editor: StartEditor, fake: FakeEngine) -> None:
    fake.state, fake.progress = "loading", (1, 4)
    ed = await editor({"warm": True})
    await ed.until(lambda: ed.status["state"] == "loading")
    assert ed.status["percent"] == 25
    uri = ed.open(CODE)
    assert await ed.inline(uri, *END) == []
    assert await ed.reason() == "loading"
    assert not (await ed.menu(uri, *END)).items
    assert not fake.requests
    await ed.until(lambda: ed.client.progress_reports)
    fake.state = "ready"
    await ed.ready()
    await ed.until(lambda: fake.warmings)
    assert fake.warmings[0]["prompt"] == CODE
    (reports,) = ed.client.progress_reports.values()
    assert isinstance(reports[0], lsp.WorkDoneProgressBegin)
    assert reports[0].percentage == 25
    assert isinstance(reports[-1], lsp.WorkDoneProgressEnd)
