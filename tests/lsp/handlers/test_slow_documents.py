"""A document made to be slow for a parser, open in a real server: everything else is still answered."""

from __future__ import annotations

import asyncio

import pytest
from lsprotocol import types as lsp
from support.editor import StartEditor

SECONDS = 15.0
"""Generous: without a deadline one such parse takes minutes."""
SIZE = 200_000


@pytest.mark.parametrize(("language", "bomb"), [("c", "/* "), ("go", "/* /* "), ("javascript", "(/[x")])
async def test_other_documents_are_answered(editor: StartEditor, language: str, bomb: str) -> None:
    ed = await editor()
    slow = ed.open(bomb * (SIZE // len(bomb)) + "\n", f"slow.{language}", language)
    other = ed.open("def add(a, b):\n    return ")

    async def everything() -> None:
        asking = asyncio.create_task(ed.inline(slow, 0, 0))
        for number in range(5):
            ed.insert(slow, lsp.Position(1, number), "x")
        assert await ed.inline(other, 1, 11)
        await asking
        assert (await ed.command("codegen.status"))["state"] == "ready"

    await asyncio.wait_for(everything(), SECONDS)
