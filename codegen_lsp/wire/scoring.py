"""How likely a model finds a text: each token's log-probability, and what these come to.

Knows `echo` with `logprobs` on the wire, and windows for texts longer than the context. Texts are scored from their
second token on, as nothing predicts the first. Both `codegen-lsp score` and the language server's command
`codegen.surprise` stand on it; how a score is shown is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from codegen_lsp.wire.answers import Completion
from codegen_lsp.wire.errors import CodegenError, RequestError, is_too_long
from codegen_lsp.wire.requests import CompletionRequest

OVERLAP = 0.5
"""The part of a window that is context only, once a text has more tokens than one window holds."""
SMALLEST = 64
"""Characters of a window; one that holds no more and still is too long is an error."""

Ask = Callable[[CompletionRequest], Awaitable[Completion]]
"""How an engine is asked: `client.Engine.complete`, or a more patient way."""


class UnscoredError(CodegenError):
    """The server can't score a text."""


@dataclass(frozen=True)
class ScoredToken:
    """One token, where it starts in the text, and how likely it was (natural logarithm; None: not predicted)."""

    text: str
    start: int
    logprob: float | None


@dataclass(frozen=True)
class Scored:
    """A text and its tokens' log-probabilities."""

    text: str
    tokens: tuple[ScoredToken, ...]

    @property
    def total(self) -> float:
        """Log-probability of the text, in nats."""
        return math.fsum(t.logprob for t in self.tokens if t.logprob is not None)

    @property
    def predicted(self) -> int:
        """Tokens that have a log-probability."""
        return sum(t.logprob is not None for t in self.tokens)

    @property
    def mean(self) -> float:
        """Nats a predicted token; 0 of none."""
        return self.total / self.predicted if self.predicted else 0.0

    @property
    def perplexity(self) -> float:
        """e to the mean surprise of a token."""
        return math.exp(min(-self.mean, 700.0))

    @property
    def bits_per_byte(self) -> float:
        """Bits that the predicted part of the text takes, for each of its UTF-8 bytes; 0 of none."""
        first = next((t.start for t in self.tokens if t.logprob is not None), len(self.text))
        size = len(self.text[first:].encode("utf-8", "surrogatepass"))
        return -self.total / math.log(2) / size if size else 0.0

    def lines(self) -> list[tuple[int, float, int]]:
        """(1-based line, nats of surprise, tokens) of each line with a predicted token."""
        found: dict[int, list[float]] = {}
        line, at = 1, 0
        for token in self.tokens:
            line += self.text.count("\n", at, token.start)
            at = token.start
            if token.logprob is not None:
                # A token of line ends and indentation belongs to the line that it leads to.
                lead = len(token.text) - len(token.text.lstrip("\n"))
                found.setdefault(line + (lead if token.text.strip("\n") else 0), []).append(-token.logprob)
        return [(number, math.fsum(values), len(values)) for number, values in sorted(found.items())]

    def most_surprising(self, limit: int | None = None) -> list[tuple[int, float, int]]:
        """Of `lines`, those with the most surprise a token; the most surprising first."""
        return sorted(self.lines(), key=lambda line: -line[1] / line[2])[:limit]

    def to_json(self) -> dict[str, object]:
        """All of it, for programs."""
        return {
            "tokens": len(self.tokens),
            "predicted": self.predicted,
            "total": self.total,
            "mean": self.mean,
            "perplexity": self.perplexity,
            "bits_per_byte": self.bits_per_byte,
            "lines": [{"line": n, "surprise": s, "tokens": c} for n, s, c in self.lines()],
            "token_logprobs": [{"text": t.text, "start": t.start, "logprob": t.logprob} for t in self.tokens],
        }


async def score(
    ask: Ask,
    text: str,
    context: int = 2048,
    *,
    priority: int = 0,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Scored:
    """The text's tokens with their log-probabilities.

    A text longer than the context is scored in windows of it that overlap by half, so that every token but those of
    the first window has at least half a window before it. `context` is in tokens; `priority` is the wire's;
    `on_progress` is told after each window how many characters are scored.

    Raises:
        UnscoredError: the server does not echo log-probabilities.
        WireError: as `ask`.
    """
    if not text:
        return Scored("", ())
    tokens: list[ScoredToken] = []
    start = 0
    size = max(64, context * 5)  # characters; code has three or four a token, so few windows are too long
    while True:
        window = text[start : start + size]
        if start + size < len(text):
            window = _whole(window)
        try:
            found = await _window(ask, window, priority)
        except RequestError as error:
            if not is_too_long(error) or size < SMALLEST:
                raise
            size = min(size, len(window)) * 3 // 4
            continue
        covered = tokens[-1].start + len(tokens[-1].text) if tokens else 0
        fresh = [t for t in found if t.start + start >= covered]
        tokens += [ScoredToken(t.text, t.start + start, t.logprob) for t in fresh]
        on_progress(start + len(window))
        if start + len(window) >= len(text):
            return Scored(text, tuple(tokens))
        start = _line_start(text, start + int(len(window) * OVERLAP), start + 1)


def _whole(window: str) -> str:
    """The window up to its last line end, so that no token is cut in two."""
    end = window.rfind("\n", len(window) // 2)
    return window[: end + 1] if end > 0 else window


def _line_start(text: str, near: int, least: int) -> int:
    at = text.rfind("\n", least, near) + 1
    return at if at > least else near


async def _window(ask: Ask, text: str, priority: int) -> list[ScoredToken]:
    answer = await ask(
        CompletionRequest(
            prompts=(text,), max_tokens=0, echo=True, logprobs=0, temperature=0.0, priority=priority
        )
    )
    scored = answer.choices[0].logprobs if answer.choices else None
    if scored is None or not scored.token_logprobs:
        raise UnscoredError(
            "the server gives no log-probabilities of a prompt ('echo' with 'logprobs'); ask this project's engine, "
            "or another that does"
        )
    offsets = scored.text_offset or _offsets(scored.tokens)
    return [
        ScoredToken(_piece(text, offsets, n), offsets[n], logprob)
        for n, logprob in enumerate(scored.token_logprobs)
    ]


def _piece(text: str, offsets: Sequence[int], number: int) -> str:
    """A token's part of the text: servers name halves of characters in ways of their own."""
    end = offsets[number + 1] if number + 1 < len(offsets) else len(text)
    return text[offsets[number] : end]


def _offsets(tokens: Sequence[str]) -> list[int]:
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(token)
    return offsets
