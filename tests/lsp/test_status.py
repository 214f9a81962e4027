"""What the user is told of requests that run."""

from __future__ import annotations

import asyncio

from codegen_lsp.lsp.engines.backend import EngineState, Phase
from codegen_lsp.lsp.session.status import SHORT_SECONDS, Status, StatusBoard


def board_with(sent: list[Status]) -> StatusBoard:
    board = StatusBoard(sent.append)
    board.update(engine=EngineState(Phase.READY, "nano", "nano is ready."))
    return board


async def test_short_requests_are_not_reported() -> None:
    sent: list[Status] = []
    board = board_with(sent)
    for _ in range(3):
        board.update(running=1)
        assert board.current.busy
        board.update(running=0)
    await asyncio.sleep(2 * SHORT_SECONDS)
    assert [status.state for status in sent] == ["ready"]


async def test_requests_that_follow_each_other_without_a_pause_are_one() -> None:
    sent: list[Status] = []
    board = board_with(sent)
    for running in (1, 2, 1, 2):
        board.update(running=running)
        await asyncio.sleep(SHORT_SECONDS / 2)
    board.update(running=0)
    assert [status.state for status in sent] == ["ready", "busy", "ready"]


async def test_a_pause_is_reported_at_once() -> None:
    sent: list[Status] = []
    board = board_with(sent)
    board.update(running=1)
    board.update(paused=True)
    await asyncio.sleep(2 * SHORT_SECONDS)
    assert [status.state for status in sent] == ["ready", "paused"]
