"""The language server as an editor sees it, with an engine that says what the test wants."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from support.editor import StartEditor
from support.fake_engine import FakeEngine

CODE = "def add(a, b):\n    return "
END = (1, 11)


def text_of(item: lsp.InlineCompletionItem) -> str:
    assert isinstance(item.insert_text, str)
    return item.insert_text


async def test_what_is_offered(editor: StartEditor) -> None:
    ed = await editor()
    offered = ed.answer.capabilities
    assert offered.inline_completion_provider is not None
    assert offered.completion_provider is not None
    assert offered.completion_provider.resolve_provider
    assert offered.position_encoding == "utf-16"
    assert isinstance(offered.text_document_sync, lsp.TextDocumentSyncOptions)
    assert offered.text_document_sync.change is lsp.TextDocumentSyncKind.Incremental
    assert offered.text_document_sync.open_close
    assert offered.notebook_document_sync is not None
    assert offered.execute_command_provider is not None
    assert set(offered.execute_command_provider.commands) == {
        "codegen.accepted",
        "codegen.showLastRequest",
        "codegen.restartEngine",
        "codegen.unloadModel",
        "codegen.pause",
        "codegen.status",
        "codegen.surprise",
        "codegen.writeBody",
    }


async def test_ghost_text_comes_ranked_with_a_command(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.rows = ["a + b", "b + a", "None"]
    uri = ed.open(CODE)
    items = await ed.inline(uri, *END)
    assert {text_of(i) for i in items} == {"a + b", "b + a", "None"}
    for item in items:
        assert item.command is not None
        assert item.command.command == "codegen.accepted"
        assert item.command.title
        (identifier,) = item.command.arguments or ()
        await ed.command("codegen.accepted", identifier)
    assert (await ed.command("codegen.status"))["suggestions"]["accepted"] == 3
    (request,) = fake.completions
    assert (request["n"], request["temperature"], request["branch"], request["heal"]) == (3, 0, True, True)


async def test_by_hand_gives_more_and_waives_the_threshold(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"minConfidence": 0.5})
    fake.logprob = -2.0
    uri = ed.open(CODE)
    assert await ed.inline(uri, *END) == []
    assert await ed.reason() == "low-confidence"
    assert await ed.inline(uri, *END, invoked=True)
    assert fake.completions[1]["n"] > fake.completions[0]["n"]


async def test_what_is_selected_in_the_menu_is_continued(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.rows = [".path"]
    uri = ed.open("import os\nx = o")
    span = lsp.Range(lsp.Position(1, 4), lsp.Position(1, 5))
    (item, *_) = await ed.inline(uri, 1, 5, selected=lsp.SelectedCompletionInfo(span, "os"))
    assert text_of(item) == "os.path"
    assert item.range == span
    assert fake.completions[0]["prompt"].endswith("x = os")
    elsewhere = lsp.Range(lsp.Position(0, 0), lsp.Position(0, 1))
    assert await ed.inline(uri, 1, 5, selected=lsp.SelectedCompletionInfo(elsewhere, "os")) == []
    assert await ed.reason() == "mismatches-selection"


async def test_menu_entries(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.rows = ["lue + 1", "lue"]
    uri = ed.open("value = 1\nprint(va")
    menu = await ed.menu(uri, 1, 8)
    assert menu.is_incomplete
    first = sorted(menu.items, key=lambda i: i.sort_text or "")[0]
    assert isinstance(first.text_edit, lsp.TextEdit)
    assert first.text_edit.range == lsp.Range(lsp.Position(1, 6), lsp.Position(1, 8))
    assert first.text_edit.new_text.startswith("value")
    assert (first.filter_text or "").startswith("va")
    resolved = await ed.client.completion_item_resolve_async(first)
    assert isinstance(resolved.documentation, lsp.MarkupContent)
    assert "```python" in resolved.documentation.value


async def test_menu_and_ghost_text_share_one_generation(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.step = 0.05
    uri = ed.open(CODE)
    items, menu = await asyncio.gather(ed.inline(uri, *END), ed.menu(uri, *END))
    assert items
    assert menu.items
    assert len(fake.completions) == 1


async def test_typing_into_a_suggestion_asks_nobody(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"warm": True})
    fake.rows = ["a + b"]
    uri = ed.open(CODE)
    await ed.inline(uri, *END)
    asked = len(fake.completions)
    for typed in range(1, 4):
        ed.insert(uri, lsp.Position(1, END[1] + typed - 1), "a + b"[typed - 1])
        items = await ed.inline(uri, 1, END[1] + typed)
        assert text_of(items[0]) == "a + b"[typed:]
        last = await ed.last()
        assert (last["source"], last["reason"]) == ("memory", None)
    # Taken back: the deleted characters are suggested again.
    ed.insert(uri, lsp.Position(1, END[1] + 1), "", end=lsp.Position(1, END[1] + 3))
    assert text_of((await ed.inline(uri, 1, END[1] + 1))[0]) == " + b"
    assert len(fake.completions) == asked
    ed.insert(uri, lsp.Position(1, END[1] + 1), "x")
    await ed.inline(uri, 1, END[1] + 2)
    assert len(fake.completions) == asked + 1


async def test_a_newer_request_cancels_the_older(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.rows, fake.step = ["x" * 400], 0.02
    uri = ed.open(CODE)
    older = asyncio.ensure_future(ed.inline(uri, *END))
    await ed.until(lambda: len(fake.completions) == 1)
    ed.insert(uri, lsp.Position(*END), "b")
    fake.rows = [" + a"]
    newer = asyncio.ensure_future(ed.inline(uri, 1, END[1] + 1))
    with pytest.raises(JsonRpcException) as caught:
        await older
    assert caught.value.code == -32800
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
    fake.rows, fake.step = ["x" * 400], 0.02
    uri = ed.open(CODE)
    protocol = ed.client.protocol
    request = asyncio.ensure_future(
        protocol.send_request_async(
            lsp.TEXT_DOCUMENT_INLINE_COMPLETION, ed.inline_params(uri, *END), msg_id="cancel-me"
        )
    )
    await ed.until(lambda: len(fake.completions) == 1)
    ed.client.cancel_request(lsp.CancelParams("cancel-me"))
    with pytest.raises(JsonRpcException) as caught:
        await request
    assert caught.value.code == -32800
    await ed.until(lambda: fake.cancelled == 1)
    assert await ed.reason() == "cancelled"


async def test_one_of_two_who_share_may_leave(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.rows, fake.step = ["a + b + c + d"], 0.1
    uri = ed.open(CODE)
    inline = asyncio.ensure_future(
        ed.client.protocol.send_request_async(
            lsp.TEXT_DOCUMENT_INLINE_COMPLETION, ed.inline_params(uri, *END), msg_id="leaver"
        )
    )
    menu = asyncio.ensure_future(ed.menu(uri, *END))
    await ed.until(lambda: len(fake.completions) == 1)
    await asyncio.sleep(0.1)
    ed.client.cancel_request(lsp.CancelParams("leaver"))
    with pytest.raises(JsonRpcException):
        await inline
    assert (await menu).items
    assert (len(fake.completions), fake.cancelled) == (1, 0)


async def test_others_are_served_while_a_generation_runs(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.rows, fake.step = ["x" * 4000], 0.05
    uri = ed.open(CODE)
    running = asyncio.ensure_future(ed.inline(uri, *END))
    await ed.until(lambda: len(fake.completions) == 1)
    for _ in range(20):
        ed.insert(uri, lsp.Position(0, 0), "#")
        assert (await ed.command("codegen.status"))["state"] == "busy"
    with pytest.raises(JsonRpcException):
        await ed.client.text_document_hover_async(
            lsp.HoverParams(lsp.TextDocumentIdentifier(uri), lsp.Position(0, 0))
        )
    assert not running.done()
    await ed.client.shutdown_async(None)
    with pytest.raises(JsonRpcException) as caught:
        await running
    assert caught.value.code == -32800


async def test_a_request_sees_the_text_of_its_moment(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    uri = ed.open("x = ")
    asked = [asyncio.ensure_future(ed.inline(uri, 0, 4, invoked=True))]
    await asyncio.sleep(0)
    ed.insert(uri, lsp.Position(0, 0), "# ")
    await asyncio.gather(*asked)
    assert fake.completions[0]["prompt"] == "x = "


@pytest.mark.parametrize(
    ("encoding", "column"),
    [
        (lsp.PositionEncodingKind.Utf8, 14),
        (lsp.PositionEncodingKind.Utf16, 11),
        (lsp.PositionEncodingKind.Utf32, 9),
    ],
)
async def test_columns_in_every_encoding(
    editor: StartEditor, fake: FakeEngine, encoding: lsp.PositionEncodingKind, column: int
) -> None:
    ed = await editor(encodings=[encoding])
    assert ed.answer.capabilities.position_encoding == encoding
    fake.rows = [" + 1"]
    # Two emoji outside the basic plane; é as one character: 3 + 4 + 4 + ... units of UTF-8.
    line = 'x = "🎈🎉"'
    assert len(line.encode()) == 14
    assert len(line.encode("utf-16-le")) // 2 == 10
    uri = ed.open(line + "é\n")
    end = {"utf-8": 16, "utf-16": 11, "utf-32": 9}[encoding.value]
    (item, *_) = await ed.inline(uri, 0, end, invoked=True)
    assert fake.completions[0]["prompt"] == line + "é"
    assert item.range == lsp.Range(lsp.Position(0, end), lsp.Position(0, end))
    ed.insert(uri, lsp.Position(0, end), "!")
    await ed.inline(uri, 0, end + 1, invoked=True)
    assert fake.completions[1]["prompt"] == line + "é!"


async def test_form_feeds_and_separators_are_no_line_ends(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    uri = ed.open("a = 1\x0cb\u2028c\x85d\ny = 2\n")
    ed.insert(uri, lsp.Position(1, 5), " +")
    await ed.inline(uri, 1, 7, invoked=True)
    assert fake.completions[0]["prompt"].endswith("\ny = 2 +")


async def test_carriage_returns(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"multiline": "always"})
    fake.rows = ["a\n    b = 2\n    return b"]
    uri = ed.open("def f(a):\r\n    b = \r\n")
    items = await ed.inline(uri, 1, 8, invoked=True)
    assert fake.completions[0]["prompt"] == "def f(a):\n    b = "
    assert items
    assert all("\n" not in text_of(i).replace("\r\n", "") for i in items)


async def test_positions_out_of_range_are_clamped(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    uri = ed.open(CODE)
    await ed.inline(uri, 1, 2**31 - 1, invoked=True)
    await ed.inline(uri, 2**31 - 1, 0, invoked=True)
    assert {r["prompt"] for r in fake.completions} == {CODE}


async def test_a_document_that_is_not_open_is_an_error(editor: StartEditor, tmp_path: Path) -> None:
    ed = await editor()
    (tmp_path / "closed.py").write_text("secret = 1\n")
    uri = (tmp_path / "closed.py").as_uri()
    with pytest.raises(JsonRpcInvalidParams, match="not open"):
        await ed.inline(uri, 0, 0)
    with pytest.raises(JsonRpcInvalidParams, match="not open"):
        await ed.menu(uri, 0, 0)
    opened = ed.open(CODE)
    ed.close(opened)
    with pytest.raises(JsonRpcInvalidParams, match="not open"):
        await ed.inline(opened, 0, 0)


async def test_untitled_documents(editor: StartEditor) -> None:
    ed = await editor()
    uri = ed.open(CODE, uri="untitled:Untitled-1")
    assert await ed.inline(uri, *END)


async def test_notebook_cells_continue_the_cells_above(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    cell = "vscode-notebook-cell:/n.ipynb#{}".format
    texts = ["import numpy as np", "# A heading", "x = np."]
    kinds = [lsp.NotebookCellKind.Code, lsp.NotebookCellKind.Markup, lsp.NotebookCellKind.Code]
    languages = ["python", "markdown", "python"]
    ed.client.notebook_document_did_open(
        lsp.DidOpenNotebookDocumentParams(
            lsp.NotebookDocument(
                "file:///n.ipynb",
                "jupyter-notebook",
                1,
                [lsp.NotebookCell(kind, cell(i)) for i, kind in enumerate(kinds)],
            ),
            [
                lsp.TextDocumentItem(cell(i), language, 1, text)
                for i, (language, text) in enumerate(zip(languages, texts, strict=True))
            ],
        )
    )
    items = await ed.inline(cell(2), 0, 7, invoked=True)
    assert fake.completions[0]["prompt"] == "import numpy as np\n\nx = np."
    assert items[0].range is not None
    assert items[0].range.start == lsp.Position(0, 7)


async def test_what_is_opened_and_changed_is_read_ahead(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"warm": True})
    uri = ed.open("import os\n\nx = 1\n")
    await ed.until(lambda: fake.warmings)
    (request,) = fake.warmings
    assert request["prompt"].startswith("import os\n\nx = 1")
    assert request["priority"] == 1
    ed.insert(uri, lsp.Position(1, 0), "import sys\n")
    await ed.until(lambda: len(fake.warmings) == 2)
    assert fake.warmings[1]["prompt"].startswith("import os\nimport sys")
    ed.client.protocol.notify("textDocument/didFocus", {"textDocument": {"uri": uri}})
    await ed.until(lambda: len(fake.warmings) == 3)


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


async def test_an_engine_that_fails_costs_one_answer(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    uri = ed.open(CODE)
    fake.break_after = 1
    assert await ed.inline(uri, *END) == []
    assert await ed.reason() == "engine-unavailable"
    fake.break_after, fake.refusal = None, (500, {"error": {"message": "it broke"}})
    assert await ed.inline(uri, *END) == []
    last = await ed.last()
    assert (last["reason"], last["message"]) == ("engine-error", "it broke")
    fake.refusal = (429, {"error": {"message": "full"}})
    assert await ed.inline(uri, *END) == []
    assert await ed.reason() == "busy"
    fake.refusal = None
    assert await ed.inline(uri, *END)


async def test_a_server_of_another_make_gets_no_extensions(editor: StartEditor, fake: FakeEngine) -> None:
    fake.extensions = False
    ed = await editor({"warm": True, "suffixRanking": True})
    uri = ed.open(CODE)
    assert await ed.inline(uri, *END)
    (request,) = fake.requests
    assert {"heal", "branch", "priority", "echo_from"}.isdisjoint(request)
    assert request["temperature"] > 0


@pytest.mark.parametrize("says", ["counts", "refuses"])
async def test_a_server_says_how_much_it_can_be_sent(
    editor: StartEditor, fake: FakeEngine, says: str
) -> None:
    """Here a token is a character, so that 2,048 of them are all it takes."""
    fake.extensions = False
    ed = await editor()
    uri = ed.open("".join(f"name_{i} = compute({i})\n" for i in range(800)))

    async def sent(line: int) -> int:
        await ed.inline(uri, line, 99)
        return len(fake.requests[-1]["prompt"])

    guessed = await sent(790)
    assert guessed > 2048
    if says == "counts":
        fake.prompt_tokens = guessed
        await sent(780)
    else:
        message = "This model's maximum context length is 2048 tokens."
        fake.refusal = (400, {"error": {"message": message, "code": "context_length_exceeded"}})
        for line in range(700, 710):
            await sent(line)
        assert await ed.reason() == "engine-error"
        fake.refusal = None
    assert await sent(770) <= 2048


async def test_candidates_are_scored_by_what_follows(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"suffixRanking": True})
    fake.rows = ["a + b", "b - a"]
    uri = ed.open(CODE + "\n\nprint(add(1, 2))\n")
    await ed.inline(uri, *END)
    (scoring,) = [r for r in fake.requests if r.get("echo")]
    assert all(p.endswith("print(add(1, 2))") for p in scoring["prompt"])
    assert scoring["echo_from"] == len(CODE) + 5
    shown = [c for c in (await ed.last())["candidates"] if c["shown"]]
    assert all(c["suffixLogprob"] == pytest.approx(fake.logprob) for c in shown)


async def test_candidates_that_will_not_be_shown_are_not_scored(
    editor: StartEditor, fake: FakeEngine
) -> None:
    ed = await editor({"suffixRanking": True, "minConfidence": 0.5})
    fake.rows, fake.logprob = ["a + b", "b - a"], -3.0
    uri = ed.open(CODE + "\n\nprint(add(1, 2))\n")
    assert not await ed.inline(uri, *END)
    assert {c["reason"] for c in (await ed.last())["candidates"]} == {"low-confidence"}
    assert not [r for r in fake.requests if r.get("echo")]


async def test_the_last_request_is_told_whole(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.rows = ["a + b", "a + b", ""]
    uri = ed.open(CODE)
    await ed.inline(uri, *END)
    last = await ed.last(uri)
    assert last["uri"] == uri
    assert (last["method"], last["trigger"], last["version"]) == ("inlineCompletion", "automatic", 1)
    assert last["position"] == {"line": END[0], "character": END[1]}
    assert last["prompt"]["text"] == last["prompt"]["header"] + last["prompt"]["window"] == CODE
    assert last["prompt"]["cachedTokens"] == 4
    assert [c["shown"] for c in last["candidates"]] == [True, False, False]
    assert {c["reason"] for c in last["candidates"]} == {None, "duplicate", "empty"}
    first = last["candidates"][0]
    assert first["score"] == pytest.approx(sum(first["parts"].values()))
    assert len(first["tokens"]) == len(first["tokenLogprobs"])
    assert {"queue_ms", "prefill_ms", "decode_ms", "total_ms"} <= set(last["timings"])
    assert last["model"] == "fake"
    with pytest.raises(JsonRpcInvalidParams):
        await ed.command("codegen.showLastRequest", 7)
