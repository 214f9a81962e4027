"""The language server as an editor sees it, with an engine that says what the test wants."""

from __future__ import annotations

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcInvalidParams
from support.editor import StartEditor, text_of
from support.fake_engine import FakeEngine

CODE = "def add(a, b):\n    return "
END = (1, 11)


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
    assert {(request["n"], request["temperature"]) for request in fake.requests} == {(1, 0)}
    assert await ed.inline(uri, *END, invoked=True)
    for request in fake.requests:
        assert {"heal", "branch", "priority", "echo_from", "draft"}.isdisjoint(request)
    assert any(request["temperature"] > 0 for request in fake.requests)


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


async def test_a_text_is_scored_once_and_not_at_all_without_another_one(
    editor: StartEditor, fake: FakeEngine
) -> None:
    ed = await editor({"suffixRanking": True})
    fake.rows = ["a + b", "a + b", "b - a"]
    uri = ed.open(CODE + "\n\nprint(add(1, 2))\n")
    await ed.inline(uri, *END)
    (scoring,) = [r for r in fake.requests if r.get("echo")]
    assert len(scoring["prompt"]) == 2
    assert all(c["suffixLogprob"] is not None for c in (await ed.last())["candidates"])
    fake.rows = ["a + b"]
    await ed.inline(ed.open(CODE + "\n\nprint(add(3, 4))\n", "b.py"), *END)
    assert [r for r in fake.requests if r.get("echo")] == [scoring]


async def test_a_request_by_hand_waits_longer_for_scores(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"suffixRanking": True})
    fake.rows, fake.scoring = ["a + b", "b - a"], 0.5
    uri = ed.open(CODE + "\n\nprint(add(1, 2))\n")
    await ed.inline(uri, *END)
    assert {c["suffixLogprob"] for c in (await ed.last())["candidates"]} == {None}
    await ed.inline(uri, *END, invoked=True)
    assert None not in {c["suffixLogprob"] for c in (await ed.last())["candidates"]}


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
