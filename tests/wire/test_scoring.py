"""`score`: figures, windows, lines, and a page that stands alone."""

from __future__ import annotations

import html.parser
import math

import pytest
from support.scripted_client import ScriptedClient

from codegen_lsp.evals.benchmarks.likelihood import page, shade
from codegen_lsp.evals.harness.retrying_client import RetryingClient
from codegen_lsp.wire.answers import Choice, Completion, Logprobs
from codegen_lsp.wire.errors import RequestError, UnscoredError
from codegen_lsp.wire.requests import CompletionRequest
from codegen_lsp.wire.scoring import Scored, ScoredToken, score

TEXT = "import os\n\n\ndef f(é):\n    return '😀'\n"


class EchoClient(ScriptedClient):
    """Every character is a token; its log-probability is -1, of line ends -0.5. At most `limit` of them."""

    def __init__(self, limit: int = 10_000) -> None:
        super().__init__(lambda *_: "")
        self.limit = limit

    async def complete(self, request: CompletionRequest) -> Completion:
        self.requests.append(request)
        (text,) = request.prompts
        assert isinstance(text, str)
        assert (request.echo, request.max_tokens, request.logprobs) == (True, 0, 0)
        if len(text) > self.limit:
            raise RequestError("'prompt' is longer than the context", param="prompt")
        numbers = [None, *(-0.5 if c == "\n" else -1.0 for c in text[1:])]
        logprobs = Logprobs(tuple(text), tuple(numbers), (), tuple(range(len(text))))
        return Completion("x", "fake", 0, (Choice(0, text, "length", logprobs),))


async def test_figures() -> None:
    scored = await score(RetryingClient(EchoClient()).ask, TEXT)
    ends = TEXT.count("\n")
    total = -1.0 * (len(TEXT) - 1 - ends) - 0.5 * ends
    assert scored.total == pytest.approx(total)
    assert scored.predicted == len(TEXT) - 1
    assert scored.mean == pytest.approx(total / (len(TEXT) - 1))
    assert scored.perplexity == pytest.approx(math.exp(-scored.mean))
    assert scored.bits_per_byte == pytest.approx(-total / math.log(2) / (len(TEXT.encode()) - 1))
    assert "".join(t.text for t in scored.tokens) == TEXT


@pytest.mark.parametrize("limit", [64, 100, 333])
async def test_long_texts_are_scored_in_windows(limit: int) -> None:
    text = "".join(f"value_{n} = {n}\n" for n in range(100)) + "😀" * 90
    whole = await score(RetryingClient(EchoClient()).ask, text)
    engine = EchoClient(limit)
    parts = await score(RetryingClient(engine).ask, text, context=limit)
    assert parts == whole
    assert len(engine.requests) > 5


async def test_one_line_longer_than_the_context() -> None:
    text = "x" * 1000
    assert await score(RetryingClient(EchoClient(100)).ask, text, context=100) == await score(
        RetryingClient(EchoClient()).ask, text
    )


async def test_empty_and_single() -> None:
    assert (await score(RetryingClient(EchoClient()).ask, "")).to_json()["perplexity"] == 1.0
    assert (await score(RetryingClient(EchoClient()).ask, "x")).bits_per_byte == 0.0


async def test_server_without_echo() -> None:
    with pytest.raises(UnscoredError, match="gives no log-probabilities"):
        await score(RetryingClient(ScriptedClient(lambda *_: "text")).ask, "x = 1\n")


def test_surprise_of_lines() -> None:
    tokens = (
        ScoredToken("import", 0, None),
        ScoredToken(" os", 6, -2.0),
        ScoredToken("\n\n\n", 9, -0.5),
        ScoredToken("def", 12, -1.0),
        ScoredToken("\n    ", 15, -4.0),
        ScoredToken("x", 20, -3.0),
    )
    scored = Scored("import os\n\n\ndef\n    x", tokens)
    assert scored.lines() == [(1, 2.5, 2), (4, 1.0, 1), (5, 7.0, 2)]


def test_colours_grow_with_surprise() -> None:
    assert [shade(p) for p in (None, -0.1, -2.0, -5.0, -20.0)] == ["", "", "yellow", "dark_orange", "red"]


class PageReader(html.parser.HTMLParser):
    """The text in <pre>, and every address that the page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = False
        self.code = ""
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.inside |= tag == "pre"
        self.addresses += [v or "" for name, v in attributes if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        self.inside &= tag != "pre"

    def handle_data(self, data: str) -> None:
        self.code += data if self.inside else ""


async def test_page_stands_alone_and_holds_the_code() -> None:
    text = "if a < b & c:\n    '</pre><script>'\n" + TEXT
    written = page(await score(RetryingClient(EchoClient()).ask, text), "<title>.py", "nano")
    reader = PageReader()
    reader.feed(written)
    assert reader.code == text
    assert reader.addresses == []
    assert "<script" not in written
    assert "&lt;title&gt;.py" in written
