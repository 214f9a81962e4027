"""Settings that a workspace may have chosen, sent to a real language server by an editor that doesn't filter them."""

from __future__ import annotations

from support.editor import StartEditor
from support.fake_engine import FakeEngine

from codegen_lsp.lsp.options.options import FILTERED, WORKSPACE

CODE = "def add(a, b):\n    return "
END = (1, 11)


async def test_a_workspace_s_server_gets_neither_text_nor_token(
    editor: StartEditor, fake: FakeEngine
) -> None:
    async with FakeEngine() as theirs:
        mine = {FILTERED: False, "server": fake.url, "token": "s3cret", "warm": False}
        chosen = {"server": theirs.url, "candidates": 2, "token": "x"}
        ed = await editor(chosen, options=mine)
        await ed.ready()
        await ed.inline(ed.open(CODE), *END)
        assert fake.completions[0]["n"] == 2, "what a workspace may choose applies"
        assert {headers["authorization"] for headers in fake.headers} == {"Bearer s3cret"}
        assert theirs.headers == []
        assert any("codegen.server is ignored" in message for message in ed.messages)
        assert any("codegen.token is ignored" in message for message in ed.messages)
        assert not any("s3cret" in message for message in ed.messages)


async def test_a_client_that_filters_settings_may_change_the_server(
    editor: StartEditor, fake: FakeEngine
) -> None:
    ed = await editor(options={"server": "http://127.0.0.1:9"})
    await ed.inline(ed.open(CODE), *END)
    assert fake.completions
    assert ed.messages == []


async def test_a_workspace_hides_no_server_in_a_filtered_answer(
    editor: StartEditor, fake: FakeEngine
) -> None:
    """A section within the section, and what a client passes on as a workspace's: the server takes neither."""
    async with FakeEngine() as theirs:
        hostile = {"server": theirs.url, "token": "x", "exclude": [], "inline": True, "candidates": 2}
        mine = {FILTERED: True, "server": fake.url, "token": "s3cret", "warm": False}
        ed = await editor({"codegen": hostile, WORKSPACE: hostile | {"codegen": hostile}}, options=mine)
        await ed.ready()
        await ed.inline(ed.open(CODE), *END)
        assert fake.completions[0]["n"] == 2, "what a workspace may choose applies"
        assert {headers["authorization"] for headers in fake.headers} == {"Bearer s3cret"}
        assert theirs.headers == []
