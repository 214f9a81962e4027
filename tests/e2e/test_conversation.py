"""What editors say to the server and expect back, with the real server, a real engine and the bundled model.

No test knows what the model writes: they compare prompts, ranges, versions and reasons.
"""

from __future__ import annotations

import asyncio

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from support.editor import CANCELLED, Editor, StartEditor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ALL = {"minConfidence": 0, "warm": False}
"""Settings that show whatever there is, and leave the engine to the requests."""
CODE = "import os\n\n\ndef join(folder, name):\n    return "
END = (4, 11)
LONG_WORK = {
    **ALL,
    "multiline": "always",
    "maxTokensBlock": 512,
    "candidates": 10,
    "temperature": 2,
    "topP": 1,
}


async def test_by_hand_and_while_typing(sharing: StartEditor) -> None:
    ed = await sharing({"candidates": 2, "minConfidence": 1, "warm": False})
    uri = ed.open(CODE)
    await ed.ready()
    assert await ed.inline(uri, *END) == []
    assert await ed.reason() == "low-confidence"
    assert await ed.inline(uri, *END, invoked=True)
    last = await ed.last(uri)
    assert last["trigger"] == "invoked"
    assert len(last["candidates"]) > 2, "asked by hand, there is more to choose from"


async def test_what_the_menu_has_selected_is_continued(sharing: StartEditor) -> None:
    ed = await sharing(ALL)
    uri = ed.open("import os\n\nbase = os.pa")
    await ed.ready()
    span = lsp.Range(lsp.Position(2, 10), lsp.Position(2, 12))
    selected = lsp.SelectedCompletionInfo(span, "path")
    items = await ed.inline(uri, 2, 12, selected=selected)
    assert (await ed.last(uri))["prompt"]["text"].endswith("base = os.path")
    assert all(item.range == span and str(item.insert_text).startswith("path") for item in items)
    assert items or await ed.reason()


async def test_menu_entries_are_ranked_edits(sharing: StartEditor) -> None:
    ed = await sharing(ALL)
    uri = ed.open("values = [1, 2]\nprint(va")
    await ed.ready()
    menu = await ed.menu(uri, 1, 8)
    assert menu.is_incomplete
    assert menu.items
    assert [i.sort_text for i in menu.items] == sorted(str(i.sort_text) for i in menu.items)
    for item in menu.items:
        assert "\n" not in item.label
        assert isinstance(item.text_edit, lsp.TextEdit)
        assert item.text_edit.range.end == lsp.Position(1, 8)
        assert str(item.filter_text).startswith("va")


async def test_a_newer_request_stops_the_older(sharing: StartEditor) -> None:
    ed = await sharing(LONG_WORK)
    uri = ed.open(CODE)
    await ed.ready()
    for attempt in range(5):
        before = (await ed.metrics())["codegen_cancelled_total"]
        older = asyncio.ensure_future(ed.inline(uri, *END, invoked=True))
        await _working(ed, older)
        ed.insert(uri, lsp.Position(0, 0), f"# {attempt}\n")
        newer = asyncio.ensure_future(ed.inline(uri, END[0] + attempt + 1, END[1], invoked=True))
        first, second = await asyncio.gather(older, newer, return_exceptions=True)
        assert isinstance(second, list)
        if isinstance(first, JsonRpcException):
            assert first.code == -32800
            assert (await ed.metrics())["codegen_cancelled_total"] > before
            return
    pytest.fail("each generation was over before a newer request came")


@pytest.mark.parametrize(
    ("encoding", "column"),
    [
        (lsp.PositionEncodingKind.Utf8, 29),
        (lsp.PositionEncodingKind.Utf16, 21),
        (lsp.PositionEncodingKind.Utf32, 19),
    ],
    ids=lambda value: str(getattr(value, "value", value)),
)
async def test_columns_in_every_encoding(
    sharing: StartEditor, encoding: lsp.PositionEncodingKind, column: int
) -> None:
    ed = await sharing(ALL, encodings=[encoding])
    assert ed.answer.capabilities.position_encoding == encoding
    line = 'names = ["🎈e\u0301🎉", é日'
    assert len(line) == 19
    uri = ed.open(line + "\r\nprint(names)\r\n")
    await ed.ready()
    items = await ed.inline(uri, 0, column, invoked=True)
    assert (await ed.last(uri))["prompt"]["text"].endswith(line)
    assert all(
        i.range is not None and i.range.end.line == 0 and i.range.end.character >= column for i in items
    )
    ed.insert(uri, lsp.Position(0, column), "x")
    await ed.inline(uri, 0, column + 1, invoked=True)
    assert (await ed.last(uri))["prompt"]["text"].endswith(line + "x")


async def test_line_ends_are_those_of_the_file(sharing: StartEditor) -> None:
    ed = await sharing({**ALL, "multiline": "always"})
    uri = ed.open("def first(items):\r\n\tif items:\r\n\t\t")
    await ed.ready()
    items = await ed.inline(uri, 2, 2, invoked=True)
    for item in items:
        text = str(item.insert_text)
        assert text.count("\n") == text.count("\r\n")
    assert items or await ed.reason()


async def test_a_cursor_beyond_the_end_stands_at_the_end(sharing: StartEditor) -> None:
    ed = await sharing(ALL)
    uri = ed.open(CODE)
    await ed.ready()
    for place in ((4, 900), (900, 0)):
        await ed.inline(uri, *place, invoked=True)
        assert (await ed.last(uri))["prompt"]["text"] == CODE


async def test_an_unknown_document_is_an_error_and_nothing_else(sharing: StartEditor) -> None:
    ed = await sharing(ALL)
    uri = ed.open(CODE)
    await ed.ready()
    with pytest.raises(JsonRpcException) as caught:
        await ed.inline("file:///never/opened.py", 0, 0)
    assert "not open" in caught.value.message
    assert await ed.inline(uri, *END, invoked=True)


async def test_untitled_documents_and_notebook_cells(sharing: StartEditor) -> None:
    ed = await sharing(ALL)
    untitled = ed.open(CODE, uri="untitled:Untitled-1")
    await ed.ready()
    assert await ed.inline(untitled, *END, invoked=True)
    cell = "vscode-notebook-cell:/n.ipynb#{}".format
    texts = ["import os\n\nfolder = os.getcwd()", "path = os."]
    cells = [lsp.NotebookCell(lsp.NotebookCellKind.Code, cell(i)) for i in range(2)]
    ed.client.notebook_document_did_open(
        lsp.DidOpenNotebookDocumentParams(
            lsp.NotebookDocument("file:///n.ipynb", "jupyter-notebook", 1, cells),
            [lsp.TextDocumentItem(cell(i), "python", 1, text) for i, text in enumerate(texts)],
        )
    )
    items = await ed.inline(cell(1), 0, 10, invoked=True)
    assert (await ed.last(cell(1)))["prompt"]["text"] == "\n\n".join(texts)
    assert items
    assert all(item.range is not None and item.range.start.line == 0 for item in items)


async def test_settings_from_both_sides_and_wrong_ones(sharing: StartEditor) -> None:
    ed = await sharing({**ALL, "candidates": "many"}, options={"maxTokensLine": 3, "debounce": -1})
    uri = ed.open(CODE)
    await ed.ready()
    await ed.inline(uri, *END, invoked=True)
    tokens = [len(c["tokens"]) for c in (await ed.last(uri))["candidates"]]
    assert tokens
    assert max(tokens) <= 3
    assert any("codegen.candidates" in m for m in ed.messages)
    assert any("codegen.debounce" in m for m in ed.messages)
    ed.client.set_configuration({"codegen": {**ALL, "languages": {"python": False}}})
    ed.client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(None))
    async with asyncio.timeout(10):  # the server has the new settings once it has asked for them
        while await ed.inline(uri, *END, invoked=True):
            pass
    assert await ed.reason() == "language-disabled"


async def test_pausing_here_and_everywhere(sharing: StartEditor) -> None:
    ed = await sharing(ALL)
    here, there = ed.open(CODE), ed.open(CODE, "b.py")
    await ed.ready()
    assert await ed.command("codegen.pause", {"paused": True, "uri": here}) == {"paused": True}
    assert await ed.inline(here, *END, invoked=True) == []
    assert await ed.reason(here) == "paused"
    assert await ed.inline(there, *END, invoked=True)
    await ed.command("codegen.pause", {"paused": True})
    await ed.until(lambda: ed.status["state"] == "paused")
    assert await ed.inline(there, *END, invoked=True) == []
    await ed.command("codegen.pause", {"paused": False})
    await ed.command("codegen.pause", {"paused": False, "uri": here})
    assert await ed.inline(here, *END, invoked=True)


async def test_what_is_done_with_suggestions_is_counted(sharing: StartEditor) -> None:
    ed = await sharing(ALL, options={"editorInfo": {"name": "test", "version": "1"}})
    uri = ed.open(CODE)
    await ed.ready()
    (item, *_) = await ed.inline(uri, *END, invoked=True)
    as_json = ed.client.protocol._converter.unstructure(item)
    ed.client.protocol.notify("textDocument/didFocus", {"textDocument": {"uri": uri}})
    ed.client.protocol.notify("textDocument/didShowCompletion", {"item": as_json})
    ed.client.protocol.notify(
        "textDocument/didPartiallyAcceptCompletion", {"item": as_json, "acceptedLength": 1}
    )
    assert item.command is not None
    await ed.command(item.command.command, *(item.command.arguments or ()))
    counted = (await ed.command("codegen.status"))["suggestions"]
    assert counted == {"shown": 1, "accepted": 1, "partlyAccepted": 1}


async def test_a_later_comment_sees_the_earlier_one_and_its_code(sharing: StartEditor) -> None:
    ed = await sharing(ALL)
    first = "numbers = [1, 2, 3]\n# Add the numbers up.\ntotal = sum(numbers)\n"
    uri = ed.open(first + "# Print the total.\n")
    await ed.ready()
    result = await ed.command("codegen.writeBody", uri, {"line": 3, "character": 3})
    last = await ed.last(uri)
    assert last["method"] == "writeBody"
    assert last["prompt"]["text"].startswith(first + "# Print the total.")
    assert result["applied"] or result["reason"]


async def test_writing_a_body_can_be_cancelled(sharing: StartEditor) -> None:
    ed = await sharing({"maxTokensBody": 1024, "temperature": 2, "topP": 1})
    uri = ed.open('def total(numbers):\n    """Add all numbers up."""\n')
    await ed.ready()
    for attempt in range(5):
        name = f"write-{attempt}"
        ed.edits.clear()  # Of an attempt that was not cancelled in time.
        request = ed.send_command(name, "codegen.writeBody", uri, {"line": 1, "character": 8})
        await _working(ed, request)
        ed.cancel(name)
        (answer,) = await asyncio.gather(request, return_exceptions=True)
        if isinstance(answer, JsonRpcException):
            assert answer.code == CANCELLED
            assert not ed.edits
            return
    pytest.fail("each body was written before it could be cancelled")


async def _working(ed: Editor, request: asyncio.Future[object]) -> None:
    """Wait until the engine runs something, or the request is over."""
    while not request.done():
        if (await ed.metrics())["codegen_requests_running"]:
            return
