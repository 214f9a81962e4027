"""The prompt as part of the answer (`echo`), with the log-probabilities of its tokens if requested."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

import torch

from codegen_lsp.engine.decode.prompts import PreparedPrompt
from codegen_lsp.engine.decode.reading import distributions
from codegen_lsp.engine.decode.rows.row import named_top
from codegen_lsp.engine.decode.stop_strings import Utf8
from codegen_lsp.engine.model.model import Model
from codegen_lsp.wire.answers import Logprobs
from codegen_lsp.wire.requests import CompletionRequest


class Echo:
    """The echoed part of one prompt, and the log-probabilities as its logits are computed."""

    def __init__(self, model: Model, request: CompletionRequest, prompt: PreparedPrompt) -> None:
        self.model = model
        self.request = request
        self.tokens = prompt.tokens
        self.starts = _character_starts(model, prompt)
        # The first token that ends behind `echo_from`.
        self.first = bisect_right(self.starts, request.echo_from, lo=1) - 1 if request.echo_from else 0
        self.text = prompt.text[self.starts[self.first] :]
        # Nothing predicts the first token of a prompt.
        self._values: list[float | None] = [None] if self.first == 0 else []
        self._tops: list[dict[str, float] | None] = [None] if self.first == 0 else []

    @property
    def scored_from(self) -> int | None:
        """The first position whose logits are needed; None if none are."""
        return max(self.first - 1, 0) if self.request.logprobs is not None else None

    @property
    def read_from(self) -> int:
        """The first position that must be read and can't be restored from a cache."""
        return len(self.tokens) if self.scored_from is None else self.scored_from

    @property
    def logprobs(self) -> Logprobs | None:
        """The log-probabilities of the echoed tokens, if requested."""
        if self.request.logprobs is None:
            return None
        echoed = self.tokens[self.first :]
        return Logprobs(
            tokens=tuple(self.model.vocabulary.text_of(t) for t in echoed),
            token_logprobs=tuple(self._values),
            top_logprobs=tuple(self._tops),
            text_offset=tuple(self.starts[self.first : len(self.tokens)]),
        )

    def needed(self, position: int, count: int) -> torch.Tensor:
        """Return which of `count` positions from `position` on need logits, always including the last one."""
        first = self.scored_from
        low = count - 1 if first is None else max(0, min(first - position, count - 1))
        return torch.arange(low, count)

    def take(self, position: int, logits: torch.Tensor) -> None:
        """Score the tokens that logits (kept, vocabulary) of the last `kept` positions before `position` predict.

        Raises:
            InternalError: the model computed values that are not finite.
        """
        if self.request.logprobs is None:
            return
        start = position - logits.shape[0]
        for predicted, distribution in enumerate(distributions(self.model, logits), start=start + 1):
            if self.first <= predicted < len(self.tokens):
                self._values.append(distribution.log_probability(self.tokens[predicted]))
                top = distribution.top(self.request.logprobs)
                self._tops.append(named_top(self.model.vocabulary, top))


def _character_starts(model: Model, prompt: PreparedPrompt) -> list[int]:
    """Return the index of the character at which each token starts, and the number of characters."""
    if prompt.text.isascii():
        length_of = model.vocabulary.length_of
        starts = [0, *accumulate(map(length_of.__getitem__, prompt.tokens))]
        if starts[-1] == len(prompt.text):
            return starts
    utf8, count = Utf8(), 0
    starts = []
    for i, token in enumerate(prompt.tokens):
        starts.append(count)
        raw = model.vocabulary.bytes_of[token]
        added = i == 0 and token in model.vocabulary.special and not prompt.text.startswith(raw.decode())
        count += 0 if added else len(utf8.feed(raw))
    return [min(start, len(prompt.text)) for start in starts] + [len(prompt.text)]
