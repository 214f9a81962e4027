"""Suggestions from the real server over stdio, a real engine, and the bundled model."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from lsprotocol import types as lsp
from support.editor import Editor, StartEditor
from support.samples import CODE, END

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

LONG = Path(__file__).read_text()


async def test_ghost_text_and_menu_from_the_model(sharing: StartEditor) -> None:
    ed = await sharing({"minConfidence": 0})
    uri = ed.open(CODE)
    await ed.ready()
    items = await ed.inline(uri, *END, invoked=True)
    assert items
    last = await ed.last(uri)
    assert last["source"] == "engine"
    assert last["prompt"]["text"] == CODE
    assert last["prompt"]["tokens"] > 10
    shown = [c for c in last["candidates"] if c["shown"]]
    assert len(shown) == len(items)
    assert [c["score"] for c in shown] == sorted((c["score"] for c in shown), reverse=True)
    assert all(c["meanLogprob"] < 0 and c["tokens"] for c in shown)
    menu = await ed.menu(uri, *END)
    assert menu.items
    resolved = await ed.client.completion_item_resolve_async(menu.items[0])
    assert resolved.documentation is not None


async def test_an_opened_file_is_read_before_it_is_asked_about(sharing: StartEditor) -> None:
    ed = await sharing()
    await ed.ready()
    uri = ed.open(LONG)
    await _quiet(ed, prefilled=100)
    line = LONG[: LONG.index("async def test_an_opened")].count("\n")
    await ed.inline(uri, line, 0, invoked=True)
    usage = (await ed.last())["usage"]
    assert usage["prompt_tokens"] - usage["cached_tokens"] <= 16, usage


async def test_a_keystroke_costs_a_few_tokens(sharing: StartEditor) -> None:
    ed = await sharing()
    uri = ed.open(LONG + "\n\n")
    await ed.ready()
    line = ed.texts[uri].count("\n")
    await ed.inline(uri, line, 0, invoked=True)
    fresh = []
    for column, character in enumerate("value = compute(uri)"):
        ed.insert(uri, lsp.Position(line, column), character)
        await ed.inline(uri, line, column + 1, invoked=True)
        usage = (await ed.last())["usage"]
        fresh.append(usage["prompt_tokens"] - usage["cached_tokens"])
    assert sorted(fresh)[len(fresh) // 2] <= 8, fresh


async def test_typing_through_leaves_the_engine_alone(sharing: StartEditor) -> None:
    ed = await sharing({"minConfidence": 0, "warm": False})
    uri = ed.open(CODE)
    await ed.ready()
    items = await ed.inline(uri, *END, invoked=True)
    texts = [str(item.insert_text) for item in items]
    text = max(texts, key=len)
    before = await ed.metrics()
    assert len(text) > 3
    for typed, character in enumerate(text[:-1][:5], start=1):
        ed.insert(uri, lsp.Position(END[0], END[1] + typed - 1), character)
        shown = await ed.inline(uri, END[0], END[1] + typed)
        left = [t[typed:] for t in texts if t.startswith(text[:typed]) and len(t) > typed]
        assert [str(item.insert_text) for item in shown] == left
        assert (await ed.last())["source"] == "memory"
    after = await ed.metrics()
    for name in ("codegen_requests_total", "codegen_prefill_tokens_total", "codegen_generated_tokens_total"):
        assert after[name] == before[name]


async def test_cancelling_stops_the_generation_in_the_engine(sharing: StartEditor) -> None:
    ed = await sharing(
        {"multiline": "always", "maxTokensBlock": 256, "candidates": 10, "temperature": 2, "topP": 1}
    )
    uri = ed.open(CODE)
    await ed.ready()
    await _quiet(ed)
    for attempt in range(5):
        before = await ed.metrics()
        request = ed.send_inline(f"cancel-{attempt}", uri, *END, invoked=True)
        await _generated(ed, before, request)
        if await ed.cancels(f"cancel-{attempt}", request):
            break
    else:
        pytest.fail("each generation was over before it could be cancelled")
    await _quiet(ed)
    stopped = await ed.metrics()
    assert stopped["codegen_cancelled_total"] > before["codegen_cancelled_total"]
    await asyncio.sleep(1)
    later = await ed.metrics()
    assert later["codegen_generated_tokens_total"] == stopped["codegen_generated_tokens_total"]
    assert await ed.reason() == "cancelled"
    assert await ed.inline(uri, *END, invoked=True)


async def test_changes_are_served_while_the_model_works(sharing: StartEditor) -> None:
    ed = await sharing({"multiline": "always", "maxTokensBlock": 512, "candidates": 10})
    uri = ed.open(CODE)
    await ed.ready()
    running = asyncio.ensure_future(ed.inline(uri, *END, invoked=True))
    served = 0
    while not running.done() and served < 50:
        ed.insert(uri, lsp.Position(0, 0), "#")
        await ed.command("codegen.status")
        served += 1
    await running
    assert served > 1


async def test_a_body_is_written_as_an_edit(sharing: StartEditor) -> None:
    ed = await sharing()
    uri = ed.open('def total(numbers):\n    """Add all numbers up."""\n\n\nx = 1\n')
    await ed.ready()
    at = lsp.Range(lsp.Position(1, 8), lsp.Position(1, 8))
    actions = await ed.client.text_document_code_action_async(
        lsp.CodeActionParams(lsp.TextDocumentIdentifier(uri), at, lsp.CodeActionContext([]))
    )
    assert [a.title for a in actions or ()] == ["Write the body of `total`"]
    result = await ed.command("codegen.writeBody", uri, {"line": 1, "character": 8})
    reports = [r for reports in ed.client.progress_reports.values() for r in reports]
    assert any(isinstance(r, lsp.WorkDoneProgressBegin) and r.cancellable for r in reports)
    if not result["applied"]:  # A little trained model may write nothing that fits; then it says so.
        assert result["reason"]
        assert ed.messages
        return
    (edit,) = ed.edits
    (change,) = edit.edit.document_changes or ()
    assert isinstance(change, lsp.TextDocumentEdit)
    assert change.text_document.version == 1
    assert str(change.edits[0].new_text).startswith("\n    ")  # type: ignore[union-attr]


async def _quiet(ed: Editor, prefilled: int = 0) -> None:
    """Wait until the engine has nothing to do, and has read more than `prefilled` tokens."""
    async with asyncio.timeout(60):
        while True:
            numbers = await ed.metrics()
            idle = numbers["codegen_requests_running"] == 0 and numbers.get("codegen_requests_total", 0) > 0
            if idle and numbers["codegen_prefill_tokens_total"] > prefilled:
                return
            await asyncio.sleep(0.05)


async def _generated(ed: Editor, before: dict[str, float], request: asyncio.Future[object]) -> None:
    """Wait until the engine has written a token for a request."""
    name = "codegen_generated_tokens_total"
    while not request.done():
        if (await ed.metrics())[name] > before[name]:
            return


async def test_by_hand_one_candidate_uses_what_was_imported_and_not_used(sharing: StartEditor) -> None:
    ed = await sharing({"minConfidence": 0})
    text = "from dataclasses import dataclass, fields\n\n\n@dataclass\nclass Box:\n    width: int\n\n\n"
    text += "def names(box: Box) -> list[str]:\n    result = []\n    for field in "
    uri = ed.open(text, "idle.py")
    await ed.ready()
    await ed.inline(uri, text.count("\n"), len("    for field in "), invoked=True)
    last = await ed.last(uri)
    assert last["prompt"]["offers"] == ["fields"]
    assert any(candidate["text"].startswith("fields") for candidate in last["candidates"])


async def test_after_a_dot_only_members_of_the_receiver_are_suggested(
    editor: StartEditor, tmp_path: Path
) -> None:
    (tmp_path / "shapes.py").write_text(
        "class Shape:\n    def outline(self) -> list[int]: ...\n\n"
        "class Circle(Shape):\n    def __init__(self, radius: float) -> None:\n        self.radius = radius\n\n"
        "    def diameter(self) -> float:\n        return 2 * self.radius\n"
    )
    ed = await editor({"minConfidence": 0})
    text = "from shapes import Circle\n\n\ndef area(circle: Circle) -> float:\n    return circle."
    uri = ed.open(text, "main.py")
    await ed.ready()
    place = text.count("\n"), len("    return circle.")
    async with asyncio.timeout(60):
        await ed.inline(uri, *place, invoked=True)
        while not (await ed.last(uri))["prompt"]["words"]:  # the other file is read in the background
            ed.insert(uri, lsp.Position(0, 0), "\n")
            place = place[0] + 1, place[1]
            await ed.inline(uri, *place, invoked=True)
    members = {"radius", "diameter", "outline", "__class__", "__dict__"}
    last = await ed.last(uri)
    assert set(last["prompt"]["words"]) == members
    written = {re.split(r"\W", candidate["raw"])[0] for candidate in last["candidates"]}
    assert len(written) > 1
    assert written <= members

    ed.insert(uri, lsp.Position(*place), "di")
    items = await ed.inline(uri, place[0], place[1] + 2, invoked=True)
    assert items
    assert all(str(item.insert_text).startswith(("ameter", "diameter")) for item in items)
