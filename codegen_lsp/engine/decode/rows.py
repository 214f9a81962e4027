"""One row of a request: the tokens that were chosen for it, and the text they add up to.

Knows how a row chooses (greedy, sampled, healing, branching), where it ends, and which part of its text may be
shown already. Knows no model: it is given logits.
"""

from __future__ import annotations

import torch

from codegen_lsp.engine.decode import sampling
from codegen_lsp.engine.decode.stop_strings import Stops, Utf8
from codegen_lsp.engine.model.vocabulary import Vocabulary
from codegen_lsp.wire.answers import Choice, FinishReason, Logprobs
from codegen_lsp.wire.requests import CompletionRequest


class Row:
    """A candidate on its way.

    While healing, `rest` is what is left to spell of the text that was given back. Tokens that only spell it
    are forced: they are in no count, no text and no log-probabilities. The token that goes beyond it counts with
    the part of its text that is new, and with its probability among the tokens that spell `rest`.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        request: CompletionRequest,
        index: int,
        rank: int,
        start: int,
        rest: bytes,
    ) -> None:
        """
        Args:
            index: of the choice in the answer.
            rank: of the row in its prompt; with `branch` its first token is the one of that rank.
            start: characters before the row's text.
            rest: what healing has to spell.
        """
        self.vocabulary = vocabulary
        self.request = request
        self.index = index
        self.start = start
        self.rest = rest
        self.rank = rank if request.branch else 0
        self.branched = not request.branch
        self.count = 0
        """Tokens decoded, without the forced ones."""
        self.finish_reason: FinishReason | None = None
        self._generator = _generator(request, rank)
        self._utf8 = Utf8()
        self._stops = Stops(request.stop)
        self._entries: list[tuple[int, str, float, dict[str, float] | None]] = []
        self._sent = 0
        self._sent_entries = 0
        self._sent_reason = False
        self._prefix = ""
        self._prefix_logprobs: Logprobs | None = None

    def echo(self, text: str, logprobs: Logprobs | None) -> None:
        """Put (a part of) the prompt before the row's text."""
        self._prefix, self._prefix_logprobs = text, logprobs

    @property
    def finished(self) -> bool:
        """Nothing is to be decoded any more."""
        return self.finish_reason is not None

    @property
    def is_plain(self) -> bool:
        """The most likely token is the one to take."""
        return not self.rest and self.branched and self.request.temperature == 0

    def choose(self, logits: torch.Tensor) -> int:
        """The next token from logits (vocabulary) that hold minus infinity where no token may come from."""
        if self.rest:
            return self._choose_healing(logits)
        if not self.branched:
            self.branched = True
            return sampling.top(logits, self.rank + 1)[-1][0]
        return sampling.draw(logits, self.request.temperature, self.request.top_p, self._generator)

    def _choose_healing(self, logits: torch.Tensor) -> int:
        reaching, partial = self.vocabulary.spelling(self.rest)
        allowed = torch.tensor(reaching + partial)
        values = logits[allowed]
        if self.branched:
            request = self.request
            return int(allowed[sampling.draw(values, request.temperature, request.top_p, self._generator)])
        best = int(values.argmax())
        if best < len(reaching):
            ranked = sampling.top(values[: len(reaching)], self.rank + 1)
            if len(ranked) > self.rank:
                self.branched = True
                return int(allowed[ranked[self.rank][0]])
            # Too few tokens to give every row its own: this one goes on as the best does, and branches later.
            self.rank -= len(ranked) - 1
        return int(allowed[best])

    def push(self, token: int, log_probabilities: torch.Tensor | None) -> None:
        """Take a token. `log_probabilities` (vocabulary) are those it was chosen from, where they are asked for."""
        raw = self.vocabulary.output_bytes(token)
        chosen = None if log_probabilities is None else float(log_probabilities[token])
        if self.rest:
            if log_probabilities is not None and chosen is not None:
                reaching, partial = self.vocabulary.spelling(self.rest)
                chosen -= float(log_probabilities[reaching + partial].logsumexp(0))
            if self.rest.startswith(raw):
                self.rest = self.rest[len(raw) :]
                return
            raw, self.rest = raw[len(self.rest) :], b""
        self.count += 1
        if token in self.vocabulary.ends:
            self._end("stop")
            return
        new = self._utf8.feed(raw)
        if chosen is not None and log_probabilities is not None:
            whole = _text(raw)
            # A broken character before this token comes out together with it.
            start = len(self._stops.text) + (len(new) - len(whole) if whole is not None else 0)
            name = whole if whole is not None else self.vocabulary.text_of(token)
            self._entries.append((start, name, chosen, self._top(log_probabilities)))
        self._stops.feed(new)
        if self._stops.found:
            self._end("stop")
        elif self.count >= self.request.max_tokens:
            self._end("length")

    def cut(self) -> None:
        """The context is full."""
        if not self.finished:
            self._end("length")

    def delta(self) -> Choice | None:
        """What is new since the last call, as a chunk; None where nothing is."""
        released = self._stops.released
        text = self._prefix + self._stops.text[self._sent : released]
        self._prefix, self._sent = "", max(released, self._sent)
        logprobs = self._new_logprobs(released)
        if (
            not text
            and (logprobs is None or not logprobs.tokens)
            and (not self.finished or self._sent_reason)
        ):
            return None
        self._sent_reason = self.finished
        return Choice(self.index, text, self.finish_reason, logprobs)

    def _new_logprobs(self, released: int) -> Logprobs | None:
        if self.request.logprobs is None:
            return None
        entries = self._entries[self._sent_entries :]
        shown = [e for e in entries if e[0] < released or (self.finished and not self._stops.found)]
        self._sent_entries += len(entries) if self.finished else len(shown)
        result = Logprobs(
            tokens=tuple(e[1] for e in shown),
            token_logprobs=tuple(e[2] for e in shown),
            top_logprobs=tuple(e[3] for e in shown),
            text_offset=tuple(self.start + e[0] for e in shown),
        )
        if self._prefix_logprobs is not None:
            result, self._prefix_logprobs = self._prefix_logprobs + result, None
        return result

    def _top(self, log_probabilities: torch.Tensor) -> dict[str, float] | None:
        return named_top(self.vocabulary, log_probabilities, self.request.logprobs or 0)

    def _end(self, reason: FinishReason) -> None:
        self.finish_reason = reason
        self._stops.finish()


def named_top(vocabulary: Vocabulary, log_probabilities: torch.Tensor, count: int) -> dict[str, float] | None:
    """The `count` most likely tokens by their text; None for none. Of tokens with one text the likelier counts."""
    if not count:
        return None
    names: dict[str, float] = {}
    for token, value in sampling.top(log_probabilities, count):
        names.setdefault(vocabulary.text_of(token), value)
    return names


def _generator(request: CompletionRequest, rank: int) -> torch.Generator | None:
    if request.temperature == 0:
        return None
    generator = torch.Generator()
    if request.seed is None:
        generator.seed()
    else:
        generator.manual_seed(request.seed + rank)
    return generator


def _text(raw: bytes) -> str | None:
    """Bytes as text; None where they hold a part of a character."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
