"""`codegen.surprise`: ranges in every encoding, ranking, windows, and what stands in the way of an answer."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from support.editor import CANCELLED, StartEditor, refusal
from support.fake_engine import FakeEngine

from codegen_lsp.lsp.handlers.surprise import Snapshot, to_json
from codegen_lsp.wire.scoring import Scored, ScoredToken

CODE = "x = 1\n\n\nvalue = x\n"
BIT = -math.log(2)
"""The log-probability that is one bit of surprise."""


def cut(text: str, pieces: list[tuple[str, float | None]]) -> Scored:
    """A score whose tokens are these pieces of the text, each with its surprise in bits."""
    tokens, at = [], 0
    for piece, bits in pieces:
        tokens.append(ScoredToken(piece, at, None if bits is None else bits * BIT))
        at += len(piece)
    assert at == len(text)
    return Scored(text, tuple(tokens))


def ranges(scored: Scored, encoding: str = "utf-16") -> list[tuple[tuple[int, int], tuple[int, int], float]]:
    answer = to_json(Snapshot("file:///a.py", 1, scored.text), scored, "fake", encoding)
    places = [(t["range"]["start"], t["range"]["end"], t["bits"]) for t in answer["tokens"]]
    return [((s["line"], s["character"]), (e["line"], e["character"]), bits) for s, e, bits in places]


@pytest.mark.parametrize(
    ("encoding", "wide", "narrow"), [("utf-16", 2, 1), ("utf-8", 4, 2), ("utf-32", 1, 1)]
)
def test_columns_count_units_of_the_encoding(encoding: str, wide: int, narrow: int) -> None:
    scored = cut("😀é x", [("😀", None), ("é", 1.0), (" x", 2.0)])
    second, third = wide + narrow, wide + narrow + 2
    assert ranges(scored, encoding) == [((0, wide), (0, second), 1.0), ((0, second), (0, third), 2.0)]


def test_a_character_of_several_tokens_is_one_range() -> None:
    # As an engine gives them: the parts before the last have no text, and start where the character does.
    scored = cut("a😀b", [("a", None), ("", 3.0), ("", 0.5), ("😀", 1.0), ("b", 2.0)])
    assert ranges(scored) == [((0, 1), (0, 3), 4.5), ((0, 3), (0, 4), 2.0)]
    first = cut("😀b", [("", None), ("😀", 1.0), ("b", 2.0)])
    assert ranges(first) == [((0, 0), (0, 2), 1.0), ((0, 2), (0, 3), 2.0)]


def test_a_token_of_line_ends_and_indentation_spans_lines() -> None:
    scored = cut("if x:\n\n\ty\n", [("if x:", None), ("\n\n\t", 4.0), ("y", 1.0), ("\n", 0.0)])
    assert ranges(scored) == [((0, 5), (2, 1), 4.0), ((2, 1), (2, 2), 1.0), ((2, 2), (3, 0), 0.0)]


def test_lines_are_ranked_by_bits_a_token() -> None:
    scored = cut(
        "a b\nc\n\n  d\n",
        [("a", None), (" b", 3.0), ("\n", 1.0), ("c", 9.0), ("\n\n  ", 0.0), ("d", 6.0), ("\n", 0.5)],
    )
    answer = to_json(Snapshot("file:///a.py", 7, scored.text), scored, "fake", "utf-16")
    assert [(line["line"], line["text"]) for line in answer["lines"]] == [(1, "c"), (3, "d"), (0, "a b")]
    assert answer["lines"][0] == {"line": 1, "bits": 9.0, "bitsPerToken": 9.0, "tokens": 1, "text": "c"}
    assert answer["totals"] == {
        "tokens": 6,
        "bits": 19.5,
        "bitsPerToken": 3.25,
        "bitsPerByte": round(19.5 / 10, 4),
        "perplexity": round(2**3.25, 4),
    }
    assert (answer["version"], answer["model"], answer["reason"]) == (7, "fake", None)


async def test_the_server_answers_with_ranges_lines_and_totals(editor: StartEditor, fake: FakeEngine) -> None:
    fake.logprob, fake.surprising = BIT, {"v": 8 * BIT}
    ed = await editor()
    uri = ed.open(CODE)
    answer = await ed.command("codegen.surprise", {"uri": uri})
    assert (answer["uri"], answer["version"], answer["model"]) == (uri, 1, "fake")
    assert answer["reason"] is None
    assert len(answer["tokens"]) == answer["totals"]["tokens"] == len(CODE) - 1
    assert answer["totals"]["bits"] == pytest.approx(len(CODE) - 1 + 7)
    assert answer["lines"][0]["line"] == 3
    assert answer["lines"][0]["text"] == "value = x"
    (request,) = [r for r in fake.requests if r.get("echo")]
    assert request["priority"] == 1  # Suggestions go first.
    assert request["max_tokens"] == 0


async def test_line_endings_do_not_count_as_surprise(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    plain, windows = ed.open(CODE), ed.open(CODE.replace("\n", "\r\n"), "b.py")
    answers = [await ed.command("codegen.surprise", {"uri": uri}) for uri in (plain, windows)]
    assert answers[0]["tokens"] == answers[1]["tokens"]
    assert answers[0]["lines"] == answers[1]["lines"]
    assert "\r" not in fake.requests[-1]["prompt"]


async def test_long_documents_are_scored_in_windows(editor: StartEditor, fake: FakeEngine) -> None:
    text = "".join(f"value_{n} = {n}\n" for n in range(400))
    fake.longest = 2000
    ed = await editor()
    answer = await ed.command("codegen.surprise", {"uri": ed.open(text)})
    assert answer["totals"]["tokens"] == len(text) - 1
    ends = [t["range"]["end"] for t in answer["tokens"]]
    assert ends[-1] == {"line": 400, "character": 0}
    (reports,) = ed.client.progress_reports.values()
    begun, *shares, ended = reports
    assert isinstance(begun, lsp.WorkDoneProgressBegin)
    assert begun.cancellable
    percents = [s.percentage for s in shares]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert len(percents) > 3
    assert isinstance(ended, lsp.WorkDoneProgressEnd)


async def test_why_nothing_was_measured_is_told(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"maxFileSize": 10_000})

    async def asked(text: str, name: str) -> tuple[str, str]:
        answer = await ed.command("codegen.surprise", {"uri": ed.open(text, name)})
        assert (answer["tokens"], answer["lines"], answer["totals"]) == ([], [], None)
        return answer["reason"], answer["message"]

    assert await asked("", "empty.py") == ("nothing-to-go-on", "The document is empty.")
    assert (await asked("x", "one.py"))[0] == "nothing-to-go-on"
    reason, message = await asked("x = 1\n" * 2000, "large.py")
    assert (reason, "maxFileSize" in message) == ("document-too-large", True)
    fake.echoes = False
    reason, message = await asked(CODE, "plain.py")
    assert (reason, "log-probabilities" in message) == ("engine-error", True)
    fake.refusal = (500, {"error": {"message": "it broke"}})
    assert await asked(CODE, "broken.py") == ("engine-error", "It broke.")


async def test_turned_off_and_paused(editor: StartEditor) -> None:
    off = await editor({"enabled": False})
    await off.until(lambda: off.status["state"] == "paused")
    answer = await off.command("codegen.surprise", {"uri": off.open(CODE)})
    assert "codegen.enabled" in answer["message"]
    ed = await editor()
    uri = ed.open(CODE)
    await ed.command("codegen.pause", {"paused": True})
    assert (await ed.command("codegen.surprise", {"uri": uri}))["reason"] is None  # It was asked for by hand.


async def test_a_change_meanwhile_stops_it(editor: StartEditor, fake: FakeEngine) -> None:
    fake.step, fake.longest = 0.05, 1000
    ed = await editor()
    uri = ed.open("value = 1\n" * 1000)
    work = asyncio.ensure_future(ed.command("codegen.surprise", {"uri": uri}))
    await ed.until(lambda: [r for r in fake.requests if r.get("echo")])
    ed.insert(uri, lsp.Position(0, 0), "#")
    answer = await work
    assert (answer["version"], answer["reason"]) == (1, "cancelled")
    assert "changed" in answer["message"]


async def test_it_can_be_cancelled_from_its_progress_and_as_a_request(
    editor: StartEditor, fake: FakeEngine
) -> None:
    fake.step = 30.0
    ed = await editor()
    uri = ed.open(CODE)
    work = asyncio.ensure_future(ed.command("codegen.surprise", {"uri": uri}))
    await ed.until(lambda: fake.requests)
    await ed.until(lambda: ed.status["state"] == "busy")
    (token,) = ed.client.progress_reports
    ed.client.window_work_done_progress_cancel(lsp.WorkDoneProgressCancelParams(token))
    assert (await work)["reason"] == "cancelled"
    await ed.until(lambda: fake.cancelled == 1)
    await ed.until(lambda: ed.status["state"] == "ready")

    request = ed.send_command("surprise", "codegen.surprise", {"uri": uri})
    await ed.until(lambda: len(fake.requests) == 2)
    ed.cancel("surprise")
    assert await refusal(request) == CANCELLED
    await ed.until(lambda: fake.cancelled == 2)


async def test_a_newer_request_takes_the_place_of_an_older_one(editor: StartEditor, fake: FakeEngine) -> None:
    fake.step = 30.0
    ed = await editor()
    uri = ed.open(CODE)
    older = asyncio.ensure_future(ed.command("codegen.surprise", {"uri": uri}))
    await ed.until(lambda: fake.requests)
    fake.step = 0.0
    assert (await ed.command("codegen.surprise", {"uri": uri}))["reason"] is None
    with pytest.raises(JsonRpcException):
        await older


async def test_wrong_arguments_are_refused(editor: StartEditor) -> None:
    ed = await editor()
    arguments: list[list[Any]] = [[], [None], ["file:///a.py"], [{"uri": 3}], [{"uri": "file:///none.py"}]]
    for wrong in arguments:
        with pytest.raises(JsonRpcInvalidParams):
            await ed.command("codegen.surprise", *wrong)
