"""Patience with engines: what is waited for, what is tried again, what is not."""

from __future__ import annotations

import pytest
from support.scripted_client import ScriptedClient

from codegen_lsp.evals.harness.retrying_client import RetryingClient, seed_of, together
from codegen_lsp.wire.errors import InternalError, NotReadyError, OverloadedError, RequestError, is_too_long
from codegen_lsp.wire.requests import CompletionRequest


def engine(*errors: Exception) -> ScriptedClient:
    made = ScriptedClient(lambda prompt, seed, _: f"{prompt}{seed}")
    made.errors = list(errors)
    return made


ASK = CompletionRequest(prompts=("p",), seed=5)


async def test_rows_come_in_batches_and_seeds_go_on() -> None:
    fake = engine()
    choices = await RetryingClient(fake).samples(ASK, 37)
    assert [c.text for c in choices] == [f"p{5 + i}" for i in range(37)]
    assert [r.n for r in fake.requests] == [16, 16, 5]
    part = await RetryingClient(fake).samples(CompletionRequest(prompts=("p",), seed=5 + 20), 17)
    assert [c.text for c in part] == [c.text for c in choices[20:]]


async def test_loading_and_full_engines_are_waited_for() -> None:
    waits: list[Exception] = [NotReadyError("loading", code="loading")] * 8
    fake = engine(*waits, OverloadedError("full"), InternalError("broke"))
    assert (await RetryingClient(fake, pause=0).ask(ASK)).choices[0].text == "p5"
    assert len(fake.requests) == 11


@pytest.mark.parametrize(
    "error", [RequestError("no", param="n"), NotReadyError("no such file", code="load-failed")]
)
async def test_what_cannot_get_better_is_not_tried_again(error: Exception) -> None:
    fake = engine(error)
    with pytest.raises(type(error)):
        await RetryingClient(fake, pause=0).ask(ASK)
    assert len(fake.requests) == 1


async def test_broken_engine_is_given_up() -> None:
    fake = engine(*[InternalError("broke")] * 50)
    with pytest.raises(InternalError):
        await RetryingClient(fake, pause=0).ask(ASK)
    assert len(fake.requests) == 5


async def test_prompt_that_fills_the_context_continues_with_nothing() -> None:
    error = RequestError("the prompt has 3000 tokens, the context 2048", param="prompt")
    assert is_too_long(error)
    assert await RetryingClient(engine(error)).continuation(ASK) == ""
    with pytest.raises(RequestError):
        await RetryingClient(engine(RequestError("'seed' is not supported", param="seed"))).continuation(ASK)


async def test_first_error_is_raised_by_itself() -> None:
    async def fail() -> None:
        raise RequestError("no")

    async def nested() -> None:
        await together([fail(), fail()])

    with pytest.raises(RequestError):
        await together([nested(), fail()])


def test_seeds_are_fixed_and_leave_room() -> None:
    assert seed_of("humaneval", 0, 0.2, "HumanEval/0") == seed_of("humaneval", 0, 0.2, "HumanEval/0")
    assert len({seed_of("x", i) for i in range(100)}) == 100
    assert all(0 <= seed_of("x", i) < 2**31 for i in range(100))
