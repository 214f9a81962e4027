from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from codegen_lsp.lsp.options.options import Options
from codegen_lsp.lsp.prompts.prompt import Prompt
from codegen_lsp.lsp.suggest.generation import (
    Patience,
    read,
    score_suffixes,
    to_request,
    warming_request,
    with_greedy_row,
)
from codegen_lsp.lsp.suggest.values import Candidate, Verdict
from codegen_lsp.wire.answers import Choice, Completion, Logprobs, Usage
from codegen_lsp.wire.requests import CompletionRequest

PROMPT = Prompt("def f():", "", "def f():", "line", ("\n",), 40)


class Script:
    """An engine that says chunks: one list of (text, log-probability) a row, None where a row is done."""

    extensions = True

    def __init__(self, *rows: Sequence[tuple[str, float]]) -> None:
        self.rows = rows
        self.steps = 0
        self.together = 1
        """Number of steps that a chunk has."""
        self.closed = False
        self.answer: Completion | None = None
        self.requests: list[CompletionRequest] = []

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Completion]:
        self.requests.append(request)
        try:
            for step in range(0, max(map(len, self.rows)), self.together):
                end = step + self.together
                self.steps += self.together
                choices = tuple(
                    Choice(
                        i,
                        "".join(text for text, _ in row[step:end]),
                        "stop" if end >= len(row) else None,
                        sum((_logprobs(*part) for part in row[step:end]), Logprobs()),
                    )
                    for i, row in enumerate(self.rows)
                    if step < len(row)
                )
                yield Completion("1", "m", 0, choices, Usage(8, end, 6))
        finally:
            self.closed = True

    async def complete(self, request: CompletionRequest) -> Completion:
        self.requests.append(request)
        assert self.answer is not None
        return self.answer


def _logprobs(text: str, value: float) -> Logprobs:
    return Logprobs((text,), (value,), (), (0,))


def never(_: str) -> bool:
    return False


async def _read(script: Script, patience: Patience) -> Any:
    request = CompletionRequest(prompts=("x",), n=len(script.rows), stream=True)
    return await read(script, request, patience)  # type: ignore[arg-type]


async def test_rows_are_joined_with_their_means() -> None:
    script = Script([("a", -1.0), (" + b", -3.0)], [("c", -0.5)])
    generated = await _read(script, Patience(never))
    first, second = generated.candidates
    assert (first.text, first.mean_logprob, first.finish) == ("a + b", -2.0, "stop")
    assert (second.text, second.tokens, second.token_logprobs) == ("c", ("c",), (-0.5,))
    assert generated.usage == Usage(8, 2, 6)
    assert {"queue_ms", "prefill_ms", "decode_ms"} <= set(generated.timings)


async def test_the_stream_is_left_once_every_row_is_complete() -> None:
    script = Script([("a\n", -1.0)] + [("x", -1.0)] * 50, [("b", -1.0), ("c\n", -1.0)] + [("x", -1.0)] * 50)
    generated = await _read(script, Patience(lambda text: "\n" in text))
    assert [c.text for c in generated.candidates] == ["a\n", "bc\n"]
    assert script.steps == 2
    assert script.closed


async def test_rows_without_hope_are_not_read_on() -> None:
    script = Script([("x", -4.0)] * 50, [("y", -3.0)] * 50)
    generated = await _read(script, Patience(never, least=-1.0))
    assert script.steps < 10
    assert all(c.mean_logprob < -1.0 for c in generated.candidates)


async def test_a_bad_start_alone_is_not_hopeless() -> None:
    script = Script([("x", -4.0)] + [("y", -0.01)] * 9)
    (candidate,) = (await _read(script, Patience(never, least=-1.0))).candidates
    assert candidate.finish == "stop"


async def test_by_hand_every_row_is_read() -> None:
    script = Script([("x", -9.0)] * 20, [("y", -9.0)] * 30)
    await _read(script, Patience(never))
    assert script.steps == 30


async def test_long_rows_are_left_behind_when_it_hurries() -> None:
    script = Script([("a", -0.1)] * 6, [("b", -0.1)] * 8, [("c", -0.1)] * 90)
    generated = await _read(script, Patience(never, hurry=True))
    assert [c.text for c in generated.candidates] == ["a" * 6, "b" * 8]
    assert script.steps == 8


async def test_steps_are_counted_by_tokens_however_many_come_together() -> None:
    script = Script([("a", -0.1)] * 6, [("b", -0.1)] * 90)
    script.together = 3
    generated = await _read(script, Patience(never, hurry=True))
    assert [c.text for c in generated.candidates] == ["a" * 6]
    assert script.steps == 9


async def test_a_row_is_told_of_while_others_are_written() -> None:
    script = Script([("a", -0.1)] * 2, [("b", -0.1)] * 5, [("c", -0.1)] * 8)
    told: list[tuple[str, int]] = []
    patience = Patience(never, settled=lambda candidate: told.append((candidate.text, script.steps)))
    generated = await _read(script, patience)
    assert told == [("aa", 2), ("bbbbb", 5)]
    assert [c.text for c in generated.candidates] == ["aa", "bbbbb", "c" * 8]


def test_requests_fit_the_server() -> None:
    ours = to_request(PROMPT, Options(candidates=3), extensions=True, invoked=False)
    assert (ours.n, ours.temperature, ours.branch, ours.heal, ours.logprobs) == (3, 0.0, True, True, 0)
    other = to_request(PROMPT, Options(candidates=3), extensions=False, invoked=False)
    assert other.temperature > 0
    greedy, sampled = with_greedy_row(other)
    assert (greedy.n, greedy.temperature, sampled.n, sampled.temperature) == (1, 0.0, 2, other.temperature)
    assert with_greedy_row(ours) == (ours,)
    for extensions in (True, False):
        far = to_request(PROMPT, Options(candidates=3), extensions=extensions, invoked=False, remote=True)
        assert (far.n, far.temperature, far.branch) == (1, 0.0, False)
        asked = to_request(PROMPT, Options(candidates=3), extensions=extensions, invoked=True, remote=True)
        assert asked.n == (10 if extensions else 5)
    alone = to_request(PROMPT, Options(candidates=1), extensions=False, invoked=False)
    assert (alone.n, alone.temperature, alone.branch) == (1, 0.0, False)
    warm = to_request(PROMPT, Options(temperature=0.7, top_p=0.5), extensions=True, invoked=True)
    assert (warm.temperature, warm.top_p, warm.branch) == (0.7, 0.5, False)
    assert warm.n == Options().candidates + 7
    assert to_request(PROMPT, Options(candidates=10), extensions=True, invoked=True).n == 10
    assert to_request(PROMPT, Options(candidates=1), extensions=True, invoked=True).n == 1
    assert warming_request(PROMPT).max_tokens == 0


async def test_suffixes_are_scored_from_where_they_start() -> None:
    verdicts = [Verdict(Candidate("ab")), Verdict(Candidate("c")), Verdict(Candidate("d"))]
    script = Script()
    script.answer = Completion(
        "1",
        "m",
        0,
        (
            Choice(0, "", None, Logprobs(("ab", "S", "T"), (-9.0, -1.0, -2.0), (), (0, 2, 3))),
            Choice(1, "", None, Logprobs(("S", "T"), (None, -4.0), (), (1, 2))),
        ),
    )
    pairs = [("ab", "ST"), None, ("d", "ST")]
    scored = await score_suffixes(script, verdicts, pairs)  # type: ignore[arg-type]
    assert [v.candidate.suffix_logprob for v in scored] == [-1.5, None, -4.0]
    assert script.requests[0].echo_from == 1
    assert await score_suffixes(script, verdicts, [None, None, None]) == verdicts  # type: ignore[arg-type]


@pytest.mark.parametrize("extensions", [True, False])
def test_extensions_are_the_engines_own(extensions: bool) -> None:
    body = to_request(PROMPT, Options(), extensions=extensions, invoked=False).to_json(extensions=extensions)
    assert ("branch" in body) is extensions
