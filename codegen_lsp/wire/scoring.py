"""Score a text: the log-probability of each token, and sums, means and lines of these.

An engine scores a prompt if `echo` and `logprobs` are set. Texts longer than the context are scored in overlapping
windows. The first token of a text has no log-probability, as nothing predicts it. `codegen-lsp score` and the language
server's command `codegen.surprise` present the scores.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from codegen_lsp.wire.answers import Completion
from codegen_lsp.wire.errors import InvalidAnswerError, RequestError, UnscoredError, is_too_long
from codegen_lsp.wire.requests import CompletionRequest

OVERLAP = 0.5
"""The part of each window after the first that is only context for the rest."""
SMALLEST = 64
"""Minimum number of characters of a window; if a window of this size is too long, scoring fails."""

Ask = Callable[[CompletionRequest], Awaitable[Completion]]
"""Sends a request: `EngineClient.complete`, or `RetryingClient.ask`."""


@dataclass(frozen=True)
class ScoredToken:
    """One token, its start in the text, and its log-probability (natural logarithm; None: not predicted)."""

    text: str
    start: int
    logprob: float | None


@dataclass(frozen=True)
class Scored:
    """A text and the log-probabilities of its tokens."""

    text: str
    tokens: tuple[ScoredToken, ...]

    @property
    def total(self) -> float:
        """Return the log-probability of the text, in nats."""
        return math.fsum(t.logprob for t in self.tokens if t.logprob is not None)

    @property
    def predicted(self) -> int:
        """Return the number of tokens that have a log-probability."""
        return sum(t.logprob is not None for t in self.tokens)

    @property
    def mean(self) -> float:
        """Return the mean log-probability of the predicted tokens; 0 without any."""
        return self.total / self.predicted if self.predicted else 0.0

    @property
    def perplexity(self) -> float:
        """Return the exponential of the mean surprise of a token."""
        return math.exp(min(-self.mean, 700.0))

    @property
    def bits_per_byte(self) -> float:
        """Return the bits per UTF-8 byte of the predicted part of the text; 0 if there is none."""
        first = next((t.start for t in self.tokens if t.logprob is not None), len(self.text))
        size = len(self.text[first:].encode("utf-8", "surrogatepass"))
        return -self.total / math.log(2) / size if size else 0.0

    def lines(self) -> list[tuple[int, float, int]]:
        """Return (1-based line, nats of surprise, number of tokens) of each line with a predicted token."""
        surprises: dict[int, list[float]] = {}
        line, position = 1, 0
        for token in self.tokens:
            line += self.text.count("\n", position, token.start)
            position = token.start
            if token.logprob is not None:
                # A token of line ends and indentation belongs to the line that it leads to.
                lead = len(token.text) - len(token.text.lstrip("\n"))
                surprises.setdefault(line + (lead if token.text.strip("\n") else 0), []).append(
                    -token.logprob
                )
        return [(number, math.fsum(values), len(values)) for number, values in sorted(surprises.items())]

    def most_surprising(self, limit: int | None = None) -> list[tuple[int, float, int]]:
        """Return `lines` in order of the surprise per token, the most surprising first."""
        return sorted(self.lines(), key=lambda line: -line[1] / line[2])[:limit]

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON."""
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
    """Return the text's tokens with their log-probabilities.

    A text longer than the context is scored in windows that overlap by half, so that every token outside of the first
    window has at least half a window before it. `context` is in tokens; `priority` is that of the requests;
    `on_progress` is called after each window with the number of characters that are scored.

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
            scored = await _window(ask, window, priority)
        except RequestError as error:
            if not is_too_long(error) or size < SMALLEST:
                raise
            size = min(size, len(window)) * 3 // 4
            continue
        covered = tokens[-1].start + len(tokens[-1].text) if tokens else 0
        fresh = [t for t in scored if t.start + start >= covered]
        tokens += [ScoredToken(t.text, t.start + start, t.logprob) for t in fresh]
        on_progress(start + len(window))
        if start + len(window) >= len(text):
            return Scored(text, tuple(tokens))
        start = _line_start(text, start + int(len(window) * OVERLAP), start + 1)


def _whole(window: str) -> str:
    """Return the window up to its last line end, so that no token is cut in two."""
    end = window.rfind("\n", len(window) // 2)
    return window[: end + 1] if end > 0 else window


def _line_start(text: str, near: int, least: int) -> int:
    start = text.rfind("\n", least, near) + 1
    return start if start > least else near


async def _window(ask: Ask, text: str, priority: int) -> list[ScoredToken]:
    answer = await ask(
        CompletionRequest(
            prompts=(text,), max_tokens=0, echo=True, logprobs=0, temperature=0.0, priority=priority
        )
    )
    scored = answer.choices[0].logprobs if answer.choices else None
    if scored is None or not scored.token_logprobs:
        raise UnscoredError(
            "the server gives no log-probabilities of a prompt ('echo' with 'logprobs'); use this project's engine, "
            "or another server that does"
        )
    offsets = scored.text_offset or _offsets(scored.tokens)
    if len(offsets) != len(scored.token_logprobs) or list(offsets) != sorted(offsets):
        raise InvalidAnswerError("the server's log-probabilities don't match its tokens")
    return [
        ScoredToken(_piece(text, offsets, n), offsets[n], logprob)
        for n, logprob in enumerate(scored.token_logprobs)
    ]


def _piece(text: str, offsets: Sequence[int], number: int) -> str:
    """Return a token's part of the text; servers spell halves of characters in different ways."""
    end = offsets[number + 1] if number + 1 < len(offsets) else len(text)
    return text[offsets[number] : end]


def _offsets(tokens: Sequence[str]) -> list[int]:
    lengths = itertools.accumulate(map(len, tokens), initial=0)
    return list(lengths)[:-1]
