"""Commands, notifications and *Write the body*, with an engine that says what the test wants."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcInvalidParams
from support.editor import CANCELLED, Editor, StartEditor, refusal
from support.fake_engine import FakeEngine

CODE = "def add(a, b):\n    return "
END = (1, 11)
STUB = 'def add(a, b):\n    """Add two numbers."""\n\n\nx = 1\n'


async def test_pause_everywhere_and_here(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    uri, other = ed.open(CODE), ed.open(CODE, "b.py")
    assert await ed.command("codegen.pause") == {"paused": True}
    await ed.until(lambda: ed.status["state"] == "paused")
    assert ed.status["kind"] == "Inactive"
    assert not await ed.inline(uri, *END)
    assert await ed.reason() == "paused"
    assert await ed.command("codegen.pause", {"paused": False}) == {"paused": False}
    assert await ed.inline(uri, *END)
    assert await ed.command("codegen.pause", {"uri": uri}) == {"paused": True}
    assert not await ed.inline(uri, *END)
    assert await ed.inline(other, *END)
    assert await ed.command("codegen.pause", {"uri": uri}) == {"paused": False}
    assert await ed.inline(uri, *END)


async def test_what_users_do_with_suggestions_is_counted(editor: StartEditor) -> None:
    ed = await editor()
    uri = ed.open(CODE)
    (item,) = await ed.inline(uri, *END)
    as_json = ed.client.protocol._converter.unstructure(item)
    ed.client.protocol.notify("textDocument/didShowCompletion", {"item": as_json})
    ed.client.protocol.notify(
        "textDocument/didPartiallyAcceptCompletion", {"item": as_json, "acceptedLength": 1}
    )
    await ed.command("codegen.accepted", "1.0")
    status = await ed.command("codegen.status")
    assert status["suggestions"] == {"shown": 1, "accepted": 1, "partlyAccepted": 1}
    assert status["state"] == "ready"
    assert status["engine"]["phase"] == "ready"


async def test_unloading_is_done_and_told(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    assert await ed.command("codegen.unloadModel") == {"unloaded": True, "message": ""}
    assert fake.state == "unloaded"


async def test_the_code_action_is_offered_where_a_body_is_missing(editor: StartEditor) -> None:
    ed = await editor()
    uri = ed.open(STUB)
    assert await _titles(ed, uri, 1) == ["Write the body of `add`"]
    assert await _titles(ed, uri, 4) == []
    assert await _titles(ed, uri, 1, only=["refactor"]) == ["Write the body of `add`"]
    assert await _titles(ed, uri, 1, only=["quickfix"]) == []
    off = await editor({"writeBody": False})
    assert await _titles(off, off.open(STUB, "off.py"), 1) == []


async def test_a_body_is_written(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.rows = ["return a + b\n"]
    uri = ed.open(STUB)
    result = await ed.command("codegen.writeBody", uri, {"line": 1, "character": 4})
    assert result["applied"], result
    assert _applied(ed) == 'def add(a, b):\n    """Add two numbers."""\n    return a + b\n\n\nx = 1\n'
    (reports,) = ed.client.progress_reports.values()
    assert isinstance(reports[0], lsp.WorkDoneProgressBegin)
    assert reports[0].cancellable
    assert isinstance(reports[-1], lsp.WorkDoneProgressEnd)
    assert (await ed.last(uri))["method"] == "writeBody"


async def test_later_comments_see_the_earlier_ones_and_their_code(
    editor: StartEditor, fake: FakeEngine
) -> None:
    ed = await editor()
    fake.rows = ["total = sum(numbers)\n"]
    uri = ed.open("numbers = [1, 2]\n# Add them up.\n")
    await ed.command("codegen.writeBody", uri, {"line": 1, "character": 3})
    text = _applied(ed)
    assert text == "numbers = [1, 2]\n# Add them up.\ntotal = sum(numbers)\n"
    second = ed.open(text + "# Print the total.\n", "second.py")
    fake.rows = ["print(total)\n"]
    await ed.command("codegen.writeBody", second, {"line": 3, "character": 3})
    assert fake.completions[-1]["prompt"].startswith(text + "# Print the total.")


async def writing(start: StartEditor, fake: FakeEngine, text: str) -> tuple[Editor, str, asyncio.Future[Any]]:
    """Let a body be written slowly; return the editor, the URI and the command once the engine writes."""
    ed = await start()
    fake.rows, fake.step = [text], 0.1
    uri = ed.open(STUB)
    command = asyncio.ensure_future(ed.command("codegen.writeBody", uri, {"line": 1, "character": 4}))
    await ed.until(lambda: fake.completions)
    return ed, uri, command


async def test_a_body_is_not_written_into_a_changed_document(editor: StartEditor, fake: FakeEngine) -> None:
    ed, uri, command = await writing(editor, fake, "return a + b\n")
    ed.insert(uri, lsp.Position(0, 0), "import os\n")
    assert (await command)["applied"] is False
    assert not ed.edits
    assert "changed" in ed.messages[-1]


async def test_a_change_below_does_not_matter_to_a_body(editor: StartEditor, fake: FakeEngine) -> None:
    ed, uri, command = await writing(editor, fake, "return a + b\n")
    ed.insert(uri, lsp.Position(4, 0), "y = 2\n")
    assert (await command)["applied"] is True
    (change,) = ed.edits[0].edit.document_changes or ()
    assert isinstance(change, lsp.TextDocumentEdit)
    assert change.text_document.version == 2


async def test_writing_can_be_cancelled_from_its_progress(editor: StartEditor, fake: FakeEngine) -> None:
    ed, _, command = await writing(editor, fake, "x = 1\n" * 200)
    (token,) = ed.client.progress_reports
    ed.client.window_work_done_progress_cancel(lsp.WorkDoneProgressCancelParams(token))
    result = await command
    assert (result["applied"], result["reason"]) == (False, "cancelled")
    await ed.until(lambda: fake.cancelled == 1)
    await ed.until(lambda: isinstance(ed.client.progress_reports[token][-1], lsp.WorkDoneProgressEnd))


async def test_writing_can_be_cancelled_as_a_request(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    fake.rows, fake.step = ["x = 1\n" * 200], 0.05
    uri = ed.open(STUB)
    request = ed.send_command("write", "codegen.writeBody", uri, {"line": 1, "character": 4})
    await ed.until(lambda: fake.completions)
    ed.cancel("write")
    assert await refusal(request) == CANCELLED
    await ed.until(lambda: fake.cancelled == 1)


async def test_why_nothing_was_written_is_told(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    uri = ed.open(STUB)
    assert not (await ed.command("codegen.writeBody", uri, {"line": 4, "character": 1}))["applied"]
    assert "no function" in ed.messages[-1]
    fake.rows = [""]
    assert not (await ed.command("codegen.writeBody", uri, {"line": 1, "character": 4}))["applied"]
    assert "nothing" in ed.messages[-1]
    ed.apply, fake.rows = False, ["return a + b\n"]
    assert not (await ed.command("codegen.writeBody", uri, {"line": 1, "character": 4}))["applied"]
    assert "refused" in ed.messages[-1]
    for arguments in ([], [uri], [uri, 3], [7, {}], [uri, {"line": -1, "character": 0}]):
        with pytest.raises(JsonRpcInvalidParams):
            await ed.command("codegen.writeBody", *arguments)


async def _titles(ed: Editor, uri: str, line: int, only: list[Any] | None = None) -> list[str]:
    at = lsp.Position(line, 1)
    answer = await ed.client.text_document_code_action_async(
        lsp.CodeActionParams(
            lsp.TextDocumentIdentifier(uri), lsp.Range(at, at), lsp.CodeActionContext([], only=only)
        )
    )
    return [action.title for action in answer or ()]


def _applied(ed: Editor) -> str:
    """A document's text after the last edit."""
    (change,) = ed.edits[-1].edit.document_changes or ()
    assert isinstance(change, lsp.TextDocumentEdit)
    (edit,) = change.edits
    assert isinstance(edit, lsp.TextEdit)
    lines = ed.texts[change.text_document.uri].split("\n")
    start, end = (
        sum(len(line) + 1 for line in lines[: at.line]) + at.character
        for at in (edit.range.start, edit.range.end)
    )
    text = ed.texts[change.text_document.uri]
    return text[:start] + edit.new_text + text[end:]
