"""Which of the waiting requests are served next."""

from __future__ import annotations

from dataclasses import replace

from codegen_lsp.engine.scheduling.jobs import Event, Job, admissible
from codegen_lsp.wire.requests import CompletionRequest


def ignored(*_: Event) -> None:
    pass


def job(client: str, submitted: float, *, priority: int = 0, size: int = 1) -> Job:
    request = replace(CompletionRequest(("x",)), priority=priority)
    return Job(request, [], ignored, client=client, kv_bytes=size, submitted=submitted)


def order(waiting: list[Job], running: list[Job], budget: int = 1000) -> list[tuple[str, float]]:
    return [(job.client, job.submitted) for job in admissible(waiting, running, budget)]


def test_users_take_turns_whoever_came_first() -> None:
    ann = [job("ann", number) for number in range(3)]
    bob = [job("bob", 10 + number) for number in range(2)]
    assert order([*ann, *bob], []) == [("ann", 0), ("bob", 10), ("ann", 1), ("bob", 11), ("ann", 2)]
    assert order([*ann[1:], *bob], ann[:1]) == [("bob", 10), ("ann", 1), ("bob", 11), ("ann", 2)]


def test_one_user_s_own_requests_keep_their_order_and_priorities_count() -> None:
    jobs = [job("", 1), job("", 2, priority=-1), job("", 3)]
    assert order(jobs, []) == [("", 2), ("", 1), ("", 3)]


def test_a_large_request_is_not_overtaken_for_ever() -> None:
    large = job("ann", 0, size=900)
    assert order([large, job("bob", 1), job("eve", 2)], [job("dan", 0, size=500)]) == []
